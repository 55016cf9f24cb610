"""`gatehouse explain`: the edge's decisions for a request from the core, without an edge (product contract §4)."""

import json
import socket
import threading
import unittest

from harness import addresses, pki, streams
from harness.case import EdgeTest
from harness.dns import A, AAAA, NAPTR, SRV, servfail, silence
from harness.edge import run_command
from harness.site import Site


class Peer:
    """A TLS server that shakes hands with whoever comes, and notes the names that were asked for."""

    def __init__(self, *names):
        self.names, self.ip = [], addresses.fresh()
        self._context = streams.server_context(pki.authority().issue(*names))
        self._context.sni_callback = lambda connection, name, context: self.names.append(name)
        self._listener = socket.create_server((self.ip, 5061))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(5)
            try:
                self._context.wrap_socket(sock, server_side=True).close()
            except OSError:
                sock.close()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


class Explain(unittest.TestCase):
    """Nothing runs but the command and a name server."""

    @classmethod
    def setUpClass(cls):
        cls.site = site = Site()
        ca = pki.authority().certificate
        site.add("a.example", "pbx", outbound={"ca": ca}, security={"overrides": [
            {"to": "*.legacy.example", "allow": "insecure", "reason": "no TLS before spring"},
            {"to": "old.legacy.example", "allow": "insecure", "reason": "gone", "until": "2020-01-01"},
            {"to": "*.lab.example", "allow": "unverified", "reason": "their own authority"}]})
        site.add("proxy.example", "pbx", outbound={"proxy": "sip:carrier.example;transport=udp", "ca": ca})
        site.add("strict.example", "pbx", security={"untagged": "refuse"},
                 outbound={"transports": ["tcp", "udp"], "ca": ca})
        site.dns
        site.edge.write(site.configuration())

    @classmethod
    def tearDownClass(cls):
        cls.site.stop()

    def setUp(self):
        self.dns = self.site.dns
        self.dns.zone.clear()
        self.dns.add("far.example", NAPTR(10, 10, "s", "SIPS+D2T", "_sips._tcp.far.example"),
                     NAPTR(20, 10, "s", "SIP+D2T", "_sip._tcp.far.example"))
        self.dns.add("_sips._tcp.far.example", SRV(1, 1, 5061, "h1.far.example"))
        self.dns.add("h1.far.example", A("192.0.2.7", ttl=60))

    def tearDown(self):
        self.site.end_test()

    def text(self, *arguments, status=0, domain="a.example"):
        code, out, err = run_command(
            "explain", *arguments, "--config", self.site.edge.config_path, "--domain", domain)
        self.assertEqual(code, status, out + err)
        return out + err

    def json(self, *arguments, status=0, domain="a.example"):
        return json.loads(self.text(*arguments, "--json", status=status, domain=domain))

    def line(self, needle):
        with open(self.site.edge.config_path) as file:
            return next(number for number, line in enumerate(file, 1) if needle in line)

    def peer(self, *names):
        peer = Peer(*names)
        self.addCleanup(peer.close)
        return peer

    # What it says.

    def test_LOC_09__each_step_is_shown_with_its_rule_answer_and_ttl(self):
        out = self.text("sips:bob@far.example")
        for part in ("NAPTR first (RFC 3263 §4.1)", '→ 10 10 "s" "SIPS+D2T" "" _sips._tcp.far.example (300 s)',
                     "discarded NAPTR 20 10", "? A h1.far.example → 192.0.2.7 (60 s)",
                     "1. tls:192.0.2.7:5061  SNI far.example, must prove far.example", "it is sent"):
            self.assertIn(part, out)
        self.assertEqual([f"{query.kind} {query.name}" for query in self.dns.questions][:2],
                         ["NAPTR far.example", "SRV _sips._tcp.far.example"])
        self.assertEqual({query.name for query in self.dns.questions[2:]}, {"h1.far.example"})

    def test_LOC_10__a_sips_uri_whose_domain_offers_no_tls_is_refused(self):
        self.dns.replace("far.example", NAPTR(20, 10, "s", "SIP+D2T", "_sip._tcp.far.example"))
        del self.dns.zone["_sips._tcp.far.example"]
        seen = self.json("sips:bob@far.example", status=1)
        self.assertEqual(seen["verdict"]["status"], 480)
        self.assertEqual(seen["verdict"]["warning"], '380 "SIPS Not Allowed"')
        self.assertEqual(seen["resolutions"][0]["failure"], "the domain offers no TLS (NAPTR far.example)")
        self.assertFalse(self.dns.asked("_sip._tcp.far.example"))

    def test_LOC_13__without_naptr_a_reliable_transport_comes_before_udp(self):
        self.dns.add("_sip._tcp.near.example", SRV(1, 1, 5070, "h1.far.example"))
        self.dns.add("_sip._udp.near.example", SRV(1, 1, 5072, "h1.far.example"))
        seen = self.json("sip:bob@near.example")
        self.assertEqual([f"{way['transport']}:{way['address']}" for way in seen["candidates"]],
                         ["tcp:192.0.2.7:5070"])

    def test_LOC_27__an_insecure_proxy_is_refused_and_the_proxys_line_named(self):
        self.dns.add("carrier.example", A("192.0.2.9"))
        seen = self.json("sips:bob@far.example", "--arrived", "sips", status=1, domain="proxy.example")
        self.assertEqual(seen["verdict"]["status"], 480)
        place = seen["next_hop"]["decision"]["location"]
        self.assertTrue(place.startswith(f"{self.site.edge.config_path}:{self.line('sip:carrier.example')}:"), place)
        free = self.json("sip:bob@far.example", "--arrived", "tls", domain="proxy.example")
        self.assertEqual([way["address"] for way in free["candidates"]], ["192.0.2.9:5060"])

    def test_LOC_02__in_a_dialog_the_proxy_counts_only_where_it_is_forced(self):
        seen = self.json("sip:bob@192.0.2.30:5070", "--in-dialog", domain="proxy.example")
        self.assertEqual([way["address"] for way in seen["candidates"]], ["192.0.2.30:5070"])
        self.assertEqual(seen["next_hop"]["decision"]["key"], "outbound.force_proxy")

    def test_SIPS_09__an_override_lets_a_protected_session_through_and_its_line_is_named(self):
        self.dns.add("_sip._tcp.pbx.legacy.example", SRV(1, 1, 5060, "h1.far.example"))
        seen = self.json("sip:bob@pbx.legacy.example;transport=tcp", "--arrived", "sips")
        self.assertEqual([way["transport"] for way in seen["candidates"]], ["tcp"])
        override = seen["candidates"][0]["override"]
        self.assertEqual(override["key"], "security.overrides[0]")
        self.assertIn(f"gatehouse.yaml:{self.line('*.legacy.example')}:", override["location"])
        self.assertIn("no TLS before spring", override["because"])

    def test_SIPS_09__without_one_the_refusal_says_why(self):
        seen = self.json("sip:bob@far.example;transport=tcp", "--arrived", "sips", status=1)
        self.assertEqual(seen["verdict"]["status"], 403)
        self.assertEqual(seen["verdict"]["warning"], '399 "insecure leg refused: the URI asks for tcp"')

    def test_what_a_setting_forbids_is_told_with_its_line(self):
        out = self.text("sip:bob@far.example", "--arrived", "sips", status=1, domain="strict.example")
        self.assertIn("outbound.transports leaves tls out", out)
        self.assertIn(f"outbound.transports, {self.site.edge.config_path}:{self.line('transports') + 1}:", out)  # where its value begins
        untagged = self.json("sip:bob@far.example", status=1, domain="strict.example")
        self.assertEqual(untagged["verdict"]["decision"]["key"], "security.untagged")

    def test_LOC_25__a_name_server_that_fails_is_told_apart_from_a_name_that_is_not_there(self):
        self.dns.tell("_sips._tcp.far.example", servfail)
        seen = self.json("sips:bob@far.example", status=1)
        self.assertEqual(seen["verdict"]["warning"], '399 "the name server failed (SRV _sips._tcp.far.example)"')
        gone = self.json("sips:bob@gone.test", status=1)
        self.assertEqual(gone["verdict"]["warning"], '399 "the name does not exist (NAPTR gone.test)"')

    def test_LOC_26__a_name_that_leads_back_to_the_edge_or_to_the_core_is_passed_over(self):
        core = self.site.domains["a.example"].core_ip
        for ip, port, why in ((self.site.edge.outside, 5061, "the edge itself listens there"),
                              (core, 5060, "a core server")):
            with self.subTest(why):
                seen = self.json(f"sips:bob@{ip}:{port}", "--connect", status=1)
                self.assertEqual([way["passed_over"] for way in seen["candidates"]], [why])
                self.assertFalse(seen.get("attempts"))
                self.assertEqual(seen["verdict"]["status"], 500)

    # Connections.

    def test_CERT_01__connect_shakes_hands_with_the_name_before_dns_and_shows_the_certificate(self):
        peer = self.peer("far.example")
        self.dns.replace("h1.far.example", A(addresses.fresh()), AAAA("2001:db8::7"), A(peer.ip))
        seen = self.json("sips:bob@far.example", "--connect")
        *failed, last = seen["attempts"]
        self.assertTrue(failed and not any(attempt["is_connected"] for attempt in failed))
        self.assertEqual(last["address"], f"{peer.ip}:5061")
        self.assertTrue(last["is_connected"] and last["is_verified"])
        self.assertEqual(last["certificate"]["names"], ["far.example"])
        self.assertEqual(last["tls_version"], "TLSv1.3")
        self.assertEqual(peer.names, ["far.example"])

    def test_CERT_01__a_certificate_for_the_srv_target_is_no_proof_and_is_shown(self):
        peer = self.peer("h1.far.example")
        self.dns.replace("h1.far.example", A(peer.ip))
        seen = self.json("sips:bob@far.example", "--connect", status=1)
        self.assertFalse(seen["attempts"][0]["is_connected"])
        self.assertEqual(seen["attempts"][0]["certificate"]["names"], ["h1.far.example"])
        self.assertIn("not for far.example", seen["attempts"][0]["problem"])
        self.assertEqual(seen["verdict"]["status"], 500)
        out = self.text("sips:bob@far.example", "--connect", status=1)
        self.assertIn("names h1.far.example", out)

    def test_connect_tells_what_is_wrong_with_a_certificate_that_need_not_verify(self):
        for names, problem in ((["other.example"], "is for other.example, not for far.lab.example"),
                               (["far.lab.example"], None)):
            with self.subTest(names=names):
                peer = self.peer(*names)
                self.dns.replace("far.lab.example", A(peer.ip))
                seen = self.json("sips:bob@far.lab.example.:5061", "--connect")
                [attempt] = seen["attempts"]
                self.assertTrue(attempt["is_connected"] and not attempt["is_verified"])
                self.assertEqual(peer.names, ["far.lab.example"])
                if problem:
                    self.assertIn(problem, attempt["problem"])
                    self.assertIn(problem, self.text("sips:bob@far.lab.example:5061", "--connect"))
                else:
                    self.assertNotIn("problem", attempt)

    def test_connect_over_tcp(self):
        ip = addresses.fresh()
        listener = socket.create_server((ip, 5060))
        self.addCleanup(listener.close)
        self.assertIn(f"tcp:{ip}:5060  connected", self.text(f"sip:{ip};transport=tcp", "--connect"))

    # Usage.

    def test_wrong_usage_is_64_and_says_what_to_do(self):
        config = self.site.edge.config_path
        for arguments, hint in (
                (["sip:bob@far.example", "--config", config], "a.example, proxy.example, strict.example"),
                (["sip:bob@far.example", "--config", config, "--domain", "b.example"], "a.example, proxy.example"),
                (["bob@far.example", "--config", config], "sips:user@host"),
                (["sip:bob@far.example", "--config", config, "--dns", "ns.example"], "10.0.0.53:5353"),
                (["sip:bob@far.example", "--config", config, "--arrived", "fax"], "arrived"),
                (["sip:bob@far.example"], "--config")):
            with self.subTest(arguments):
                code, out, err = run_command("explain", *arguments)
                self.assertEqual(code, 64, out + err)
                self.assertIn(hint, err)

    def test_a_broken_configuration_is_1_with_every_error(self):
        path = self.site.edge.path("broken.yaml")
        with open(path, "w") as file:
            file.write("domains: 7\ncoer: {}\n")
        code, out, err = run_command("explain", "sip:bob@far.example", "--config", path)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("coer", err)
        self.assertIn(f"{path}:1:", err)

    def test_another_name_server_can_be_asked(self):
        other = type(self.dns)({"far.example": [A("192.0.2.99")]})
        self.addCleanup(other.close)
        seen = self.json("sip:bob@far.example:5060", "--dns", other.endpoint)
        self.assertEqual([way["address"] for way in seen["candidates"]], ["192.0.2.99:5060"])
        self.assertFalse(self.dns.questions)


class Agreement(EdgeTest):
    """What the command says of a request is what a running edge does with it."""

    domain = "a.example"

    @classmethod
    def make_site(cls):
        site = Site(dns={"timeout": "500ms"})
        ca = pki.authority().certificate
        overrides = {"overrides": [{"to": "*.legacy.example", "allow": "insecure", "reason": "no TLS before spring"}]}
        site.add("a.example", "proxy", outbound={"ca": ca}, security=overrides)
        core = site.domains["a.example"].core_ip
        site.add("tcp.example", "proxy", core_ip=core, security=overrides,
                 outbound={"proxy": "sip:carrier.example;transport=tcp", "ca": ca})
        site.add("plain.example", "proxy", core_ip=core, outbound={"transports": ["tcp", "udp"], "ca": ca})
        site.add("all.example", "proxy", core_ip=core, outbound={"ca": ca}, security={"protect": "all"})
        site.dns
        return site

    def explained(self, uri, domain):
        code, out, err = run_command("explain", uri, "--config", self.edge.config_path, "--domain", domain, "--json")
        self.assertIn(code, (0, 1), err)
        return json.loads(out)

    def send(self, uri, domain):
        return self.core.send(self.core.build("MESSAGE", uri, contact=None, from_=f"<sip:x@{domain}>;tag=1"),
                              self.edge.core_address)

    def test_LOC_25_LOC_27_SIPS_20__refusals_have_the_same_status_and_cause(self):
        dns = self.site.dns
        dns.add("udp.example", NAPTR(10, 10, "s", "SIP+D2U", "_sip._udp.udp.example"))
        dns.add("_sips._tcp.none.example", SRV(0, 0, 0, "."))
        dns.add("carrier.example", A("192.0.2.9"))
        dns.tell("broken.example", servfail)
        dns.tell("_sips._tcp.broken.example", servfail)
        dns.tell("silent.example", silence)
        dns.tell("_sips._tcp.silent.example", silence)
        for uri, domain, status in (
                ("sips:bob@udp.example", "a.example", 480), ("sip:bob@udp.example", "all.example", 403),
                ("sips:bob@none.example", "a.example", 480), ("sip:bob@none.example", "all.example", 403),
                ("sips:bob@gone.test", "a.example", 500), ("sips:bob@broken.example", "a.example", 500),
                ("sips:bob@silent.example", "a.example", 504), ("sip:bob@192.0.2.1;transport=udp", "all.example", 403),
                ("sip:bob@192.0.2.1;transport=sctp", "a.example", 500),
                ("sips:bob@far.example", "tcp.example", 480), ("sips:bob@192.0.2.1", "plain.example", 480),
                ("sip:nobody@a.example", "a.example", 480)):
            with self.subTest(uri, domain=domain):
                verdict = self.explained(uri, domain)["verdict"]
                self.assertEqual(verdict["status"], status)
                seen = self.core.expect(status, "MESSAGE", call_id=self.send(uri, domain).call_id)
                code, _, text = seen.values("Warning")[0].partition(" ")
                if verdict["decision"]["because"].startswith("the domain is served here"):
                    continue  # what is registered, the command does not know
                self.assertEqual(f'{code} {text[text.index(chr(34)):]}', verdict["warning"])

    def test_LOC_13__a_request_goes_to_the_first_candidate(self):
        dns, ip = self.site.dns, addresses.fresh()
        dns.replace("_sip._tcp.near.example", SRV(10, 0, 5070, "h.near.example"))
        dns.replace("_sip._udp.near.example", SRV(10, 0, 5070, "h.near.example"))
        dns.replace("h.near.example", A(ip))
        dns.replace("carrier.example", A(ip))
        dns.replace("_sip._tcp.carrier.example", SRV(10, 0, 5070, "carrier.example"))
        dns.replace("pbx.legacy.example", A(ip))
        with socket.create_server((ip, 5070)) as listener:
            listener.settimeout(5)
            for uri, domain in (("sip:bob@near.example", "a.example"), ("sip:bob@far.example", "tcp.example"),
                                (f"sip:bob@{ip}:5070;transport=tcp", "plain.example")):
                with self.subTest(uri, domain=domain):
                    first = self.explained(uri, domain)["candidates"][0]
                    self.assertEqual(f"{first['transport']}:{first['address']}", f"tcp:{ip}:5070")
                    sent = self.send(uri, domain)
                    connection, _ = listener.accept()
                    with connection:
                        connection.settimeout(5)
                        self.assertIn(sent.call_id.encode(), connection.recv(1 << 16))
