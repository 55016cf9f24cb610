"""Start, reload and stop: what an operator does to a running edge (product contract §2, §4, §5)."""

import json
import os
import signal
import socket
import ssl
import stat

from harness import addresses, pki, streams
from harness.case import EdgeTest
from harness.dialog import establish
from harness.edge import Edge, run_command
from harness.site import Site
from harness.wait import until


class ReloadTest(EdgeTest):
    domain = "a.example"

    @classmethod
    def make_site(cls):
        site = Site({"drain": "1s"})
        site.add("a.example", "pbx")
        site.add("b.example", "proxy", ("tcp",))
        return site

    def setUp(self):
        super().setUp()
        self.edge.write(self.site.configuration())

    def tearDown(self):
        if self.edge.alive:  # back to what the class began with
            self.edge.write(self.site.configuration())
            self.reload()
        super().tearDown()

    def count(self, result):
        return self.edge.metric("gatehouse_reloads_total", result=result) or 0

    def reload(self, result="success"):
        """SIGHUP, and waits for its outcome. Returns the log lines since."""
        before, mark = self.count(result), self.edge.mark()
        self.edge.signal(signal.SIGHUP)
        until(lambda: self.count(result) == before + 1, f"a reload with {result}")
        return mark

    def connect(self, name="a.example", address=None):
        sock = streams.connect(address or self.edge.tls, (addresses.fresh(), 0))
        context = streams.client_context(pki.authority().certificate)
        try:
            return self.site.keep(streams.TLSStream(sock, context, name))
        except BaseException:
            sock.close()
            raise

    def install(self, pair, name="a.example"):
        return self.edge.install(pair, name)


class Certificates(ReloadTest):
    def test_TLS_13__a_new_certificate_serves_new_handshakes(self):
        phone = self.phone()
        call = establish(phone, self.core, "sips:bob@a.example")
        old = phone.stream.peer_der
        fresh = pki.authority().issue("a.example", fresh=True)
        self.install(fresh)
        mark = self.reload()
        self.assertEqual(self.connect().peer_der, fresh.der)
        self.assertNotEqual(old, fresh.der)
        digits = fresh.fingerprint.split(":")[:8]
        self.edge.wait_log("(?i)a\\.example.*" + ":?".join(digits), after=mark)
        self.fence(phone)  # the open connection lives on
        call.hang_up("callee")

    def test_TLS_13__a_changed_certificate_without_a_reload_changes_nothing(self):
        before = self.connect().peer_der
        self.install(pki.authority().issue("a.example", fresh=True))
        self.assertEqual(self.connect().peer_der, before)

    def refused(self, *expected):
        """The reload fails and nothing changes; the log says where and why."""
        phone = self.phone()
        call = establish(phone, self.core, "sips:bob@a.example")
        before = self.connect().peer_der
        generation = self.edge.metric("gatehouse_configuration_generation")
        mark = self.reload("failure")
        for pattern in expected:
            self.edge.wait_log(pattern, after=mark)
        self.assertEqual(self.edge.metric("gatehouse_configuration_generation"), generation)
        self.assertEqual(self.connect().peer_der, before)
        self.assertEqual(self.edge.http("/readyz")[0], 200)
        call.hang_up()
        self.fence(self.phone())

    def broken(self, name, octets):
        with open(self.edge.path(name), "wb") as file:
            file.write(octets)

    def test_reload_of_a_certificate_that_is_none(self):
        self.broken("a.example.pem", b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        self.refused(r"gatehouse\.yaml:\d+:\d+", r"a\.example\.pem")
        self.install(pki.authority().issue("a.example"))

    def test_reload_of_a_certificate_that_is_gone(self):
        os.remove(self.edge.path("a.example.pem"))
        self.refused(r"gatehouse\.yaml:\d+:\d+", r"a\.example\.pem")
        self.install(pki.authority().issue("a.example"))

    def test_reload_of_a_key_that_is_none(self):
        self.broken("a.example.key", b"nonsense")
        self.refused(r"gatehouse\.yaml:\d+:\d+", r"a\.example\.key")
        self.install(pki.authority().issue("a.example"))

    def test_reload_of_a_key_that_belongs_elsewhere(self):
        self.install(pki.Pair(pki.authority().issue("a.example").certificate, pki.authority().issue("b.example").key))
        self.refused(r"gatehouse\.yaml:\d+:\d+", r"a\.example")
        self.install(pki.authority().issue("a.example"))

    def test_reload_of_a_certificate_that_has_expired(self):
        self.install(pki.authority().issue("a.example", days=-1))
        self.refused(r"gatehouse\.yaml:\d+:\d+", r"a\.example\.pem expired on")
        self.install(pki.authority().issue("a.example"))

    def test_reload_of_broken_yaml(self):
        text = self.edge.write()
        self.edge.write(text=text + "  oops: [\n")
        self.refused(r"gatehouse\.yaml:\d+:\d+")

    def test_reload_of_a_misspelt_key_names_the_right_one(self):
        text = self.edge.write()
        self.edge.write(text=text.replace("private_key:", "privat_key:", 1))
        line = 1 + text.split("private_key:")[0].count("\n")
        self.refused(rf"gatehouse\.yaml:{line}:\d+", "privat_key", "private_key")

    def test_reload_reports_every_error(self):
        text = self.edge.write()
        text = text.replace("private_key:", "privat_key:", 1).replace("kind: proxy", "kind: proxi").replace(
            "drain: 1s", "drain: soon")
        self.edge.write(text=text)
        self.refused("privat_key", "proxi", "soon")

    def test_reload_of_an_empty_file(self):
        self.edge.write(text="")
        self.refused(r"gatehouse\.yaml")


class Listeners(ReloadTest):
    def test_reload_adds_a_domain_on_the_same_address(self):
        with self.assertRaises(OSError):
            self.connect("c.example")
        self.with_domain("c.example", "proxy")
        self.reload()
        try:
            phone = self.phone(domain="c.example")
            self.fence(phone, self.site.core("c.example"))
        finally:
            self.without("c.example")

    def with_domain(self, name, kind, **options):
        self.site.add(name, kind, **options)
        self.edge.write(self.site.configuration())

    def without(self, name):
        core = self.site.cores.pop(name, None)
        if core:
            core.close()
        self.site.domains.pop(name, None)

    def test_reload_opens_and_closes_a_listener(self):
        first, second = addresses.fresh(), addresses.fresh()
        self.with_domain("d.example", "pbx", tls={"bind": [f"{first}:5061"]})
        self.reload()
        core = self.site.core("d.example")
        device = self.phone(domain="d.example", address=(first, 5061))
        calls = [establish(device, core, "sips:bob@d.example") for _ in range(2)]
        self.site.domains["d.example"].options["tls"] = {"bind": [f"{second}:5061"]}
        self.edge.write(self.site.configuration())
        self.reload()
        try:
            until(lambda: self.refuses((first, 5061)), "the removed listener to close")
            self.fence(self.phone(domain="d.example", address=(second, 5061)), core)
            calls[0].hang_up()  # what began on the removed listener goes on
            calls[1].hang_up("callee")
            self.fence(device, core)
        finally:
            self.without("d.example")

    def refuses(self, address):
        try:
            streams.connect(address, seconds=1).close()
            return False
        except ConnectionRefusedError:
            return True

    def test_reload_of_an_address_that_is_taken_changes_nothing(self):
        bind = addresses.fresh()
        with socket.create_server((bind, 5061)):
            self.with_domain("e.example", "pbx", tls={"bind": [f"{bind}:5061"]})
            mark = self.reload("failure")
            self.edge.wait_log(rf"{bind}:5061", after=mark)
        self.without("e.example")
        self.fence(self.phone())

    def test_reload_with_a_udp_address_that_is_taken_opens_no_other(self):
        bind, taken = addresses.fresh(), addresses.fresh()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
            holder.bind((taken, 5060))
            self.with_domain("f.example", "pbx", tls={"bind": [f"{bind}:5061"]},
                             udp={"bind": [f"{bind}:5060", f"{taken}:5060"]})
            mark = self.reload("failure")
            self.edge.wait_log(rf"{taken}:5060", after=mark)
        self.without("f.example")
        self.assertTrue(self.refuses((bind, 5061)))
        self.assertTrue(self.refuses((bind, 5060)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            until(lambda: self.binds(free, (bind, 5060)), "the UDP sockets to close")
        self.fence(self.phone())

    @staticmethod
    def binds(sock, address):
        try:
            sock.bind(address)
            return True
        except OSError:
            return False

    def test_reload_keeps_calls_and_registrations(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        call = establish(self.core, phone, seen.contact.spec)
        for _ in range(3):
            self.reload()
        call.hang_up()
        call = establish(self.core, phone, seen.contact.spec)
        call.hang_up("callee")

    def test_reload_changes_a_rule_for_new_requests(self):
        phone = self.phone()
        self.fence(phone, uri="sips:x@a.example")
        self.site.domains["a.example"].options["security"] = {"sips_to_core": "refuse"}
        self.edge.write(self.site.configuration())
        self.reload()
        try:
            self.refused(phone, phone.build("MESSAGE", "sips:x@a.example", contact=None), 480)
        finally:
            del self.site.domains["a.example"].options["security"]

    def test_reload_over_http(self):
        fresh = pki.authority().issue("a.example", fresh=True)
        self.install(fresh)
        status, _ = self.edge.http("/api/reload", "POST")
        self.assertEqual(status, 200)
        self.assertEqual(self.connect().peer_der, fresh.der)
        self.edge.write(text="nonsense: 1\n")
        status, body = self.edge.http("/api/reload", "POST")
        self.assertGreaterEqual(status, 400)
        self.assertIn("nonsense", body)
        self.assertEqual(self.connect().peer_der, fresh.der)


class StartAndStop(EdgeTest):
    domain = "a.example"

    @classmethod
    def make_site(cls):
        site = Site({"drain": "20s", "log": {"level": "debug", "format": "json"}})
        site.add("a.example", "pbx")
        return site

    def test_start_makes_the_secret_for_its_owner_alone(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.edge.path("state/secret")).st_mode), 0o600)

    def test_admin_pages(self):
        self.assertEqual(self.edge.http("/healthz")[0], 200)
        self.assertEqual(self.edge.http("/readyz")[0], 200)
        self.assertEqual(self.edge.http("/nowhere")[0], 404)
        self.assertIsNotNone(self.edge.metric("gatehouse_certificate_not_after_timestamp_seconds", domain="a.example"))
        self.fence(self.phone())
        self.assertGreaterEqual(self.edge.metric("gatehouse_requests_total", domain="a.example", direction="in",
                                                 method="MESSAGE"), 1)
        self.assertGreaterEqual(self.edge.metric("gatehouse_handshakes_total", domain="a.example", result="full"), 1)

    def test_log_lines_are_json_and_hold_no_credentials(self):
        phone = self.phone()
        phone.request("MESSAGE", "sip:u:passw0rd@a.example", contact=None,
                      headers=[("Authorization", 'Digest username="a", response="feedface"')])
        self.core.reply(self.core.expect("MESSAGE"), 200)
        phone.expect(200)
        for line in self.edge.log_since(0):
            json.loads(line)
            self.assertNotIn("passw0rd", line)
            self.assertNotIn("feedface", line)

    def test_z_stop_drains_and_a_second_term_ends_it(self):
        phone = self.phone()
        call = establish(phone, self.core, "sips:bob@a.example")
        self.edge.signal(signal.SIGTERM)
        until(lambda: self.edge.http("/readyz")[0] == 503, "the edge to say that it drains")
        self.assertEqual(self.edge.http("/healthz")[0], 200)
        call.hang_up()  # what was going on may end
        self.assertEqual(self.edge.wait_exit(), 0)

    def tearDown(self):
        self.site.end_test()
        if self.edge.alive:
            self.edge.check_alive()

    def test_y_stop_at_once_with_a_second_term(self):
        phone = self.phone()
        establish(phone, self.core, "sips:bob@a.example")
        self.edge.signal(signal.SIGTERM)
        until(lambda: self.edge.http("/readyz")[0] == 503, "the edge to say that it drains")
        self.edge.signal(signal.SIGTERM)
        self.assertEqual(self.edge.wait_exit(), 0)
        self.assertIn(phone.expect_closed(), ("close_notify",))
        self.edge.process.stdout.close()
        self.edge.start()


class WrongConfigurations(EdgeTest):
    """Starts that fail say where and how to cure it, and end with 1."""

    @classmethod
    def make_site(cls):
        site = Site()
        site.add("a.example", "pbx")
        return site

    def start(self, text):
        edge = Edge({})
        self.addCleanup(edge.cleanup)
        edge.write(text=text)
        edge.install(pki.authority().issue("a.example"), "a.example")
        edge.start(ready=False)
        try:
            status = edge.wait_exit()
            return status, edge.tail(30), run_command("check", edge.config_path)
        finally:
            edge.kill()

    def test_start_with_errors(self):
        good = self.edge.write()
        for change, patterns in (
                (("targets:", "target:"), ["target", "targets"]),
                (("name: a.example", "name: a.example\n    name: b.example"), ["name"]),
                (("kind: pbx", "kind: pbxx"), ["pbxx"]),
                (("workers: ", "workers: many"), ["many"]),
                (("udp:", "sctp:"), ["sctp"])):
            self.assertIn(change[0], good)
            status, log, (checked, out, err) = self.start(good.replace(*change, 1))
            self.assertEqual(status, 1, log)
            self.assertEqual(checked, 1, out + err)
            for pattern in patterns:
                self.assertRegex(log, pattern)
                self.assertRegex(out + err, pattern)
            self.assertRegex(log, r"gatehouse\.yaml:\d+:\d+")
            self.assertRegex(out + err, r"gatehouse\.yaml:\d+:\d+")

    def test_check_lists_each_override_with_its_days(self):
        good = self.edge.write()
        core = "    core:\n      kind: pbx"
        self.assertIn(core, good)
        edge = Edge({})
        self.addCleanup(edge.cleanup)
        text = edge.write(text=good.replace(
            core, "    security:\n      overrides:\n        - to: \"*.old.example\"\n          allow: insecure\n"
            "          reason: no TLS yet\n          until: 9999-12-31\n"
            "        - { to: a.old.example, allow: insecure, reason: none, until: 2020-01-31 }\n"
            "    outbound: { verify: false }\n" + core))
        status, out, err = run_command("check", edge.config_path)
        self.assertEqual(status, 1, out + err)
        self.assertRegex(err, r"error: .*outbound\.verify: is off without an override")
        edge.write(text=text.replace("insecure, reason: none", "unverified, reason: none"))
        edge.install(pki.authority().issue("a.example"), "a.example")
        status, out, err = run_command("check", edge.config_path)
        self.assertEqual(status, 0, out + err)
        self.assertRegex(out, r"override: \S+:\d+:\d+: a\.example may reach \*\.old\.example insecure, "
                              r"until 9999-12-31, \d{7} days left: no TLS yet")
        self.assertRegex(out, r"a\.example may reach a\.old\.example unverified, until 2020-01-31, which is past: none")
        self.assertRegex(err, r"warning: .*overrides\[1\]\.until: is past")
        self.assertRegex(err, r"warning: .*outbound\.verify: ")

    def test_check_of_a_good_file(self):
        status, out, err = run_command("check", self.edge.config_path)
        self.assertEqual(status, 0, out + err)

    def test_start_with_an_expired_certificate_serves_the_other_domains(self):
        site = Site()
        self.addCleanup(site.stop)
        site.add("lapsed.example", "pbx", pair=pki.authority().issue("lapsed.example", days=-1))
        site.add("a.example", "pbx")
        site.start()
        site.edge.wait_log(r"lapsed\.example.*expired on")
        phone = site.phone("a.example")
        establish(phone, site.core("a.example"), "sips:bob@a.example").hang_up()
        with self.assertRaisesRegex(ssl.SSLError, "certificate has expired"):
            site.phone("lapsed.example")
        status, out, err = run_command("check", site.edge.config_path)
        self.assertEqual(status, 0, out + err)
        self.assertIn("expired on", out + err)
        self.assertEqual(run_command("check", "--strict", site.edge.config_path)[0], 2)
        # A reload for another reason is not held up by it.
        site.edge.signal(signal.SIGHUP)
        until(lambda: site.edge.metric("gatehouse_reloads_total", result="success") == 1, "a reload with success")

    def test_start_on_a_taken_address(self):
        status, log, _ = self.start(self.edge.write())  # this class's own edge has the address
        self.assertEqual(status, 1, log)
        self.assertRegex(log, rf"{self.edge.outside}:(5061|8061)|{self.edge.core}:5060")

    def test_wrong_usage_is_64(self):
        self.assertEqual(run_command("run")[0], 64)
        self.assertEqual(run_command("fly")[0], 64)
        self.assertEqual(run_command("--help")[0], 0)
