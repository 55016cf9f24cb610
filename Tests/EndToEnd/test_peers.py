"""Real peers on both sides: baresip, sipp and Kamailio, and `openssl s_client` at the TLS port.

baresip 1.0 knows no `sips:` and sends no SNI: it calls over TLS with `sip:`, at a domain that is its address's default.
"""

import json
import os
import re
import socket
import subprocess
import unittest

from harness import addresses, pki
from harness.case import EdgeTest, each
from harness.core import Core
from harness.dialog import Dialog, establish
from harness.dnsdata import A, NAPTR, SRV
from harness.edge import run_command
from harness.programs import NSD, Baresip, Kamailio, NameServer, Sipp, missing
from harness.sip import SDP, NameAddr
from harness.site import Site
from harness.tag import of
from harness.wait import Deadline, until


class RealPeers(EdgeTest):
    """One address a domain: a client without SNI gets it."""

    weight = 80
    needs = ()
    has_core = False

    @classmethod
    def make_site(cls):
        site = Site()
        cls.binds = {}
        for name, kind, transport in (("pbx-udp", "pbx", "udp"), ("pbx-tcp", "pbx", "tcp"),
                                      ("proxy-udp", "proxy", "udp"), ("proxy-tcp", "proxy", "tcp")):
            bind = cls.binds[f"{name}.example"] = addresses.fresh()
            site.add(f"{name}.example", kind, (transport,), tls={"bind": [f"{bind}:5061"]})
        return site

    @classmethod
    def setUpClass(cls):
        absent = missing(*cls.needs)
        if absent:
            raise unittest.SkipTest(f"not installed: {', '.join(absent)}")
        super().setUpClass()

    @property
    def bind(self):
        return self.binds[self.domain]

    @property
    def core_ip(self):
        return self.site.domains[self.domain].core_ip

    def phone(self, user="alice", **options):
        return super().phone(user, address=(self.bind, 5061), **options)

    def nameserver(self):
        return self.site.keep(NameServer(
            [(f"sip.{self.domain}", self.bind), (self.domain, self.bind)],
            [(f"{service}.{self.domain}", f"sip.{self.domain}", 5061) for service in ("_sips._tcp", "_sip._tls")]))

    def baresip(self, register=0, mode="auto", user="alice"):
        account = (f"<sip:{user}@{self.domain};transport=tls>;regint={register};answermode={mode};"
                   f'outbound="sip:{self.domain};transport=tls";sipnat=outbound')
        return self.site.keep(Baresip(account, self.nameserver(), pki.authority().certificate))

    def scripted_core(self):
        """A core for a part of the test: the caller closes it, so that a program can have the address."""
        return Core(self.core_ip, name="scripted core", transport=self.site.domains[self.domain].transport)

    @property
    def tcp(self):
        return self.domain.endswith("-tcp.example")

    def sipp(self, scenario, **options):
        return self.site.keep(Sipp(scenario, self.core_ip, tcp=self.tcp, **options))

    def uas(self, **options):
        sipp = self.sipp("uas.xml", **options)
        until(lambda: self.bound(sipp, self.core_ip, 5060, self.tcp), "sipp to listen")
        return sipp

    @staticmethod
    def bound(program, ip, port, tcp):
        """Whether a program listens."""
        program.check_alive()
        address = f"{socket.inet_aton(ip)[::-1].hex().upper()}:{port:04X}"
        with open("/proc/net/tcp" if tcp else "/proc/net/udp") as table:
            return any(row.split()[1] == address and row.split()[3] in ("0A", "07") for row in table)


class Softphone(RealPeers):
    needs = ("baresip", "sipp", "dnsmasq")

    @each("pbx-udp", "pbx-tcp", "proxy-udp", "proxy-tcp")
    def test_peers_baresip_calls_a_pbx(self):
        sipp = self.uas(arrived="tls")
        baresip = self.baresip()
        baresip.command_line("dial", f"sip:service@{self.domain}")
        baresip.wait_event("CALL_ESTABLISHED")
        baresip.command_line("hangup")
        sipp.wait_success()

    @each("pbx-udp", "pbx-tcp")
    def test_peers_a_pbx_calls_baresip(self):
        core = self.scripted_core()
        try:
            baresip, seen = self.registered(core)
        finally:
            core.close()
        sipp = self.sipp("uac.xml", uri=seen.contact.spec, target=f"{self.edge.core}:5060")
        baresip.wait_event("CALL_ESTABLISHED")
        sipp.wait_success()
        baresip.wait_event("CALL_CLOSED")

    @each("pbx-udp", "proxy-tcp")
    def test_peers_baresip_is_called_and_hangs_up(self):
        core = self.scripted_core()
        try:
            baresip, seen = self.registered(core)
            invite = core.request("INVITE", seen.contact.spec, self.edge.core_address, body=SDP,
                                  headers=[("Route", value) for value in seen.values("Path")])
            answer = self.answered(core, invite)
            dialog = Dialog(core, invite, answer, True)
            dialog.ack()
            baresip.wait_event("CALL_ESTABLISHED")
            baresip.command_line("hangup")
            core.reply(core.expect("BYE"), 200)
            baresip.wait_event("CALL_CLOSED")
        finally:
            core.close()

    def registered(self, core):
        """A softphone that has registered at the core. Returns it, and the REGISTER that the core saw."""
        baresip = self.baresip(register=600)
        seen = core.expect("REGISTER", seconds=10)
        core.reply_as_registrar(seen)
        baresip.wait_registered()
        return baresip, seen

    def answered(self, core, invite):
        while True:
            answer = core.expect(lambda message: message.status >= 180, call_id=invite.call_id)
            if answer.status >= 200:
                self.assertEqual(answer.status, 200)
                return answer


class PlainPBX(RealPeers):
    needs = ("sipp",)

    @each("pbx-udp", "pbx-tcp", "proxy-udp", "proxy-tcp")
    def test_peers_sips_calls_to_sipp(self):
        sipp = self.uas(arrived="sips", count=3)
        phone = self.phone()
        for _ in range(3):
            invite = phone.invite(f"sips:service@{self.domain}")
            phone.expect(180, "INVITE")
            dialog = Dialog(phone, invite, phone.expect(200, "INVITE"), True)
            dialog.ack()
            dialog.send("BYE")
            phone.expect(200, "BYE")
        sipp.wait_success()

    @each("pbx-udp", "pbx-tcp")
    def test_peers_sipp_calls_a_device(self):
        core = self.scripted_core()
        try:
            phone = self.phone()
            seen, _ = phone.register(core)
        finally:
            core.close()
        sipp = self.sipp("uac.xml", uri=seen.contact.spec, target=f"{self.edge.core}:5060")
        got = phone.expect("INVITE")
        self.assertEqual(got.uri, phone.contact)
        phone.reply(got, 180)
        phone.reply(got, 200, headers=[("Content-Type", "application/sdp")], body=SDP)
        phone.expect("ACK")
        phone.reply(phone.expect("BYE"), 200)
        sipp.wait_success()


class CallsOut(RealPeers):
    """A sipp PBX calls peers outside whom NSD's records lead to; `gatehouse explain` says beforehand where it will go."""

    needs = ("sipp", "nsd", "kamailio")

    @classmethod
    def make_site(cls):
        site = super().make_site()
        cls.far = {name: addresses.fresh() for name in ("tls", "tcp", "udp", "dead")}
        cls.nsd = NSD({"test": {
            # NAPTR puts TLS first; its service is another provider's.
            "naptr.test": [NAPTR(10, 10, "s", "SIPS+D2T", "_sips._tcp.provider.test"),
                           NAPTR(20, 10, "s", "SIP+D2U", "_sip._udp.provider.test")],
            "_sips._tcp.provider.test": [SRV(0, 0, 5061, "tls.provider.test")],
            "_sip._udp.provider.test": [SRV(0, 0, 5060, "udp.provider.test")],
            "tls.provider.test": [A(cls.far["tls"])],
            "udp.provider.test": [A(cls.far["udp"])],
            # SRV alone: TCP before UDP.
            "_sip._tcp.srv.test": [SRV(0, 0, 5070, "tcp.provider.test")],
            "_sip._udp.srv.test": [SRV(0, 0, 5060, "udp.provider.test")],
            "tcp.provider.test": [A(cls.far["tcp"])],
            # An address alone: UDP, as a last resort.
            "a.test": [A(cls.far["udp"])],
            # The first server is dead.
            "_sip._tcp.dead.test": [SRV(0, 0, 5070, "dead.provider.test"), SRV(10, 0, 5070, "tcp.provider.test")],
            "dead.provider.test": [A(cls.far["dead"])],
            # No TLS: refused to a protected session, but for an override.
            "_sip._tcp.legacy.test": [SRV(0, 0, 5070, "tcp.provider.test")],
        }})
        site.top["dns"] = {"servers": [cls.nsd.endpoint]}
        for domain in site.domains.values():
            domain.options["outbound"] = {"ca": pki.authority().certificate}
            domain.options["security"] = {"overrides": [
                {"to": "legacy.test", "allow": "insecure", "reason": "no TLS before spring"}]}
        return site

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.nsd.close()

    def explained(self, uri, *arguments):
        """The candidates of `gatehouse explain`, first to last."""
        status, output, errors = run_command("explain", uri, "--config", self.edge.config_path, "--domain", self.domain, "--json", *arguments)
        self.assertEqual(status, 0, output + errors)
        return [f"{found['transport']}:{found['address']}" for found in json.loads(output)["candidates"]]

    def call(self, name, kind, port, wanted):
        far = self.site.keep(Sipp("far.xml", self.far[kind], tcp=kind == "tcp", port=port))
        until(lambda: self.bound(far, self.far[kind], port, kind == "tcp"), "the far sipp to listen")
        self.assertEqual(self.explained(f"sip:echo@{name}"), wanted)
        pbx = self.sipp("uac.xml", uri=f"sip:echo@{name}", target=f"{self.edge.core}:5060")
        far.wait_success()
        pbx.wait_success()

    @each("pbx-udp", "pbx-tcp", "proxy-udp", "proxy-tcp")
    def test_LOC_13__peers_sipp_calls_out_by_srv(self):
        self.call("srv.test", "tcp", 5070, [f"tcp:{self.far['tcp']}:5070"])

    @each("pbx-udp", "pbx-tcp", "proxy-udp", "proxy-tcp")
    def test_LOC_14__peers_sipp_calls_out_by_an_address(self):
        self.call("a.test", "udp", 5060, [f"udp:{self.far['udp']}:5060"])

    @each("pbx-udp", "pbx-tcp", "proxy-udp", "proxy-tcp")
    def test_LOC_18__peers_sipp_calls_out_past_a_dead_server(self):
        self.call("dead.test", "tcp", 5070, [f"tcp:{self.far['dead']}:5070", f"tcp:{self.far['tcp']}:5070"])

    def far_domain(self):
        """naptr.test: a sipp behind a Kamailio that speaks TLS."""
        agent = self.site.keep(Sipp("far.xml", self.far["udp"]))
        until(lambda: self.bound(agent, self.far["udp"], 5060, False), "the far sipp to listen")
        pair = pki.authority().issue("naptr.test")
        return agent, self.site.keep(Kamailio(
            self.far["tls"], "naptr.test", "far.cfg", port=5061, agent=self.far["udp"],
            certificate=pair.certificate, key=pair.key))

    @each("pbx-udp", "pbx-tcp", "proxy-udp", "proxy-tcp")
    def test_LOC_09_LOC_24__peers_sipp_calls_out_by_naptr_over_tls(self):
        agent, proxy = self.far_domain()
        self.assertEqual(self.explained("sip:echo@naptr.test", "--connect")[0], f"tls:{self.far['tls']}:5061")
        pbx = self.sipp("uac.xml", uri="sip:echo@naptr.test", target=f"{self.edge.core}:5060")
        agent.wait_success()
        pbx.wait_success()
        for method in ("INVITE", "ACK", "BYE"):
            proxy.wait_line(f"far: {method} .* over tls from {self.bind}")


    def through_kamailio(self, out):
        """A phone's `sips:` call to `out`, where Kamailio, the core, sends it back to the edge. Returns (phone, INVITE)."""
        self.site.keep(Kamailio(self.core_ip, self.domain, out=out, edge=self.edge.core))
        phone = self.phone()
        return phone, phone.invite(f"sips:out@{self.domain}")

    def finish(self, phone, invite, acknowledged=lambda: None):
        """The call is answered; the phone hangs up once its ACK is `acknowledged`: a BYE may overtake it in Kamailio."""
        ok = phone.expect(lambda answer: answer.status in (180, 200), call_id=invite.call_id, seconds=10)
        if ok.status == 180:  # two processes of Kamailio may pass it on behind the 200
            ok = phone.expect(200, "INVITE", call_id=invite.call_id)
        dialog = Dialog(phone, invite, ok, True)
        dialog.ack()
        acknowledged()
        dialog.send("BYE")
        phone.expect(200, "BYE", call_id=invite.call_id)

    @each("proxy-udp", "proxy-tcp")
    def test_SIPS_09__peers_a_sips_call_through_kamailio_stays_secure(self):
        agent, proxy = self.far_domain()
        self.finish(*self.through_kamailio("sips:echo@naptr.test"),
                    lambda: proxy.wait_line(f"far: ACK .* over tls from {self.bind}"))
        agent.wait_success()
        for method in ("INVITE", "ACK", "BYE"):
            proxy.wait_line(f"far: {method} .* over tls from {self.bind}")

    @each("proxy-udp", "proxy-tcp")
    def test_SIPS_09__peers_a_sips_call_through_kamailio_is_refused_without_tls(self):
        sink = self.site.keep(Core(self.far["tcp"], 5070, name="sink"))
        for out, status, warning in (("sips:echo@srv.test", 480, 380), ("sip:echo@srv.test", 403, 399)):
            with self.subTest(out=out):
                phone, invite = self.through_kamailio(out)
                answer = phone.expect(status, call_id=invite.call_id)
                self.assert_warning(answer, warning)
                phone.send(phone.ack_failure(invite, answer))
                self.site.end_test()
                sink = self.site.keep(Core(self.far["tcp"], 5070, name="sink"))
        self.assertTrue(sink.is_quiet())

    @each("proxy-udp", "proxy-tcp")
    def test_SIPS_09__peers_an_override_lets_a_sips_call_through(self):
        far = self.site.keep(Sipp("far.xml", self.far["tcp"], tcp=True, port=5070))
        until(lambda: self.bound(far, self.far["tcp"], 5070, True), "the far sipp to listen")
        mark = self.edge.mark()
        self.finish(*self.through_kamailio("sip:echo@legacy.test"))
        far.wait_success()
        self.edge.wait_log("override used.*no TLS before spring", after=mark)
        self.assertGreater(self.edge.metric("gatehouse_overrides_total", domain=self.domain, allow="insecure"), 0)


class ProxyCore(RealPeers):
    needs = ("kamailio",)

    @each("proxy-udp", "proxy-tcp")
    def test_peers_two_devices_behind_kamailio(self):
        self.site.keep(Kamailio(self.core_ip, self.domain))
        for scheme in ("sips", "sip"):
            alice, bob = self.phone(scheme=scheme), self.phone("bob", scheme=scheme)
            for phone in (alice, bob):
                phone.request("REGISTER", f"{scheme}:{self.domain}", to=f"<{phone.aor}>",
                              headers=[("Supported", "path, outbound"), ("Expires", "300")])
                ok = phone.expect(200, "REGISTER")
                self.assertIn(phone.contact, str(ok))
            call = establish(alice, bob, f"{scheme}:bob@{self.domain}")
            self.assertEqual(call.seen.uri, bob.contact)
            self.assertEqual(call.seen.values("Route"), [])
            hosts = [NameAddr(value).uri.host for value in call.seen.values("Record-Route")]
            self.assertEqual((hosts[0], hosts[-1]), (self.domain, self.domain))
            self.assertFalse(call.seen.has("X-Gatehouse-Session"))
            call.hang_up()
            call = establish(bob, alice, f"{scheme}:alice@{self.domain}")
            call.hang_up("callee")

    @each("proxy-udp")
    def test_peers_cancel_and_busy_behind_kamailio(self):
        self.site.keep(Kamailio(self.core_ip, self.domain))
        alice, bob = self.phone(), self.phone("bob")
        bob.request("REGISTER", f"sips:{self.domain}", to=f"<{bob.aor}>", headers=[("Supported", "path")])
        bob.expect(200, "REGISTER")
        invite = alice.invite(f"sips:bob@{self.domain}")
        got = bob.expect("INVITE")
        bob.reply(got, 180)
        alice.expect(180)
        alice.send(alice.cancel(invite))
        alice.expect(200, "CANCEL")
        bob.reply(bob.expect("CANCEL"), 200)
        bob.reply(got, 487)
        bob.expect("ACK")
        alice.send(alice.ack_failure(invite, alice.expect(487, "INVITE")))
        invite = alice.invite(f"sips:bob@{self.domain}")
        bob.reply(bob.expect("INVITE"), 486)
        bob.expect("ACK")
        alice.send(alice.ack_failure(invite, alice.expect(486, "INVITE")))
        invite = alice.invite(f"sips:nobody@{self.domain}")
        alice.send(alice.ack_failure(invite, alice.expect(404, "INVITE")))

    @each("proxy-udp", "proxy-tcp")
    def test_peers_baresip_behind_kamailio(self):
        if missing("baresip", "dnsmasq"):
            self.skipTest("not installed: baresip or dnsmasq")
        self.site.keep(Kamailio(self.core_ip, self.domain))
        baresip = self.baresip(register=600, user="bob")
        baresip.wait_registered()
        alice = self.phone(scheme="sip")
        invite = alice.invite(f"sip:bob@{self.domain}")
        while True:
            answer = alice.expect(lambda message: message.status >= 180)
            if answer.status >= 200:
                break
        self.assertEqual(answer.status, 200)
        dialog = Dialog(alice, invite, answer, True)
        dialog.ack()
        baresip.wait_event("CALL_ESTABLISHED")
        dialog.send("BYE")
        alice.expect(200, "BYE")
        baresip.wait_event("CALL_CLOSED")


class OpenSSL(RealPeers):
    """`openssl s_client`, an implementation that shares nothing with the hand-made ClientHellos of test_tls.py."""

    needs = ("openssl",)
    domain = "pbx-udp.example"

    def s_client(self, *arguments, text=b"", name=None, address=None):
        command = ["openssl", "s_client", "-connect", f"{address or self.bind}:5061", "-CAfile",
                   pki.authority().certificate, *arguments]
        command += ["-servername", name] if name else ["-noservername"]
        done = subprocess.run(command, input=text, capture_output=True, timeout=10)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def test_TLS_01__s_client_sees_the_chain(self):
        status, text = self.s_client("-verify_return_error", "-verify_hostname", self.domain, name=self.domain)
        self.assertEqual(status, 0, text)
        self.assertIn("Verify return code: 0 (ok)", text)
        self.assertIn("TLSv1.3", text)

    def test_TLS_02__s_client_with_an_unknown_name(self):
        status, text = self.s_client(name="nobody.example")
        self.assertNotEqual(status, 0)
        self.assertIn("unrecognized name", text)
        self.assertNotIn("BEGIN CERTIFICATE", text)

    def test_TLS_03__s_client_without_a_name(self):
        status, text = self.s_client("-verify_return_error", "-verify_hostname", self.domain)
        self.assertEqual(status, 0, text)

    def test_TLS_04__s_client_with_old_versions(self):
        for version in ("-tls1", "-tls1_1"):
            status, text = self.s_client(version, "-cipher", "ALL:@SECLEVEL=0", name=self.domain)
            self.assertNotEqual(status, 0)
            self.assertRegex(text, "protocol version")
        for version in ("-tls1_2", "-tls1_3"):
            self.assertEqual(self.s_client(version, name=self.domain)[0], 0)

    def test_TLS_05__s_client_with_ciphers(self):
        for cipher in ("AES128-SHA", "AES128-GCM-SHA256", "NULL-SHA256:@SECLEVEL=0"):
            status, text = self.s_client("-tls1_2", "-cipher", cipher, name=self.domain)
            self.assertNotEqual(status, 0, cipher)
        status, text = self.s_client("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", name=self.domain)
        self.assertEqual(status, 0, text)

    def test_TLS_06__s_client_cannot_renegotiate(self):
        process = subprocess.Popen(
            ["openssl", "s_client", "-tls1_2", "-servername", self.domain, "-connect", f"{self.bind}:5061"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(process.stdout.close)
        try:
            seen = b""
            while b"---\nNew, TLSv1.2" not in seen and b"Extended master secret" not in seen:
                seen += os.read(process.stdout.fileno(), 1 << 16)
            process.stdin.write(b"R\n")
            process.stdin.flush()
            deadline, rest = Deadline(), b""
            while not deadline.passed:
                more = os.read(process.stdout.fileno(), 1 << 16)
                if not more:
                    break
                rest += more
                if re.search(rb"no renegotiation|no_renegotiation|unexpected|closed|errno|error", rest):
                    break
            self.assertRegex(rest, rb"(?i)renegotiat|closed|error")
            self.assertNotIn(b"verify return:1", rest)
        finally:
            process.kill()
            process.wait()
            process.stdin.close()

    def test_TLS_06__s_client_gets_no_early_data_through(self):
        session = self.edge.path("session.pem")
        status, text = self.s_client("-tls1_3", "-sess_out", session, name=self.domain, text=b"")
        self.assertEqual(status, 0, text)
        if not os.path.exists(session):
            return  # no ticket at all: nothing to send early data with
        data = self.edge.path("early")
        with open(data, "wb") as file:
            file.write(b"OPTIONS sip:x SIP/2.0\r\n\r\n")
        status, text = self.s_client("-tls1_3", "-sess_in", session, "-early_data", data, name=self.domain)
        self.assertNotIn("Early data was accepted", text)

    def test_peers_a_request_typed_into_s_client(self):
        core = self.core
        process = subprocess.Popen(
            ["openssl", "s_client", "-quiet", "-servername", self.domain, "-connect", f"{self.bind}:5061"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            process.stdin.write(
                b"MESSAGE sips:bob@%b SIP/2.0\r\nVia: SIP/2.0/TLS typed.invalid;branch=z9hG4bKtyped\r\n"
                b"Max-Forwards: 70\r\nFrom: <sips:a@%b>;tag=1\r\nTo: <sips:bob@%b>\r\nCall-ID: typed@x\r\n"
                b"CSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n" % ((self.domain.encode(),) * 3))
            process.stdin.flush()
            seen = core.expect("MESSAGE")
            self.assertEqual(of(seen)["arrived"], "sips")
            core.reply(seen, 200)
            self.assertTrue(os.read(process.stdout.fileno(), 4096).startswith(b"SIP/2.0 200 OK\r\n"))
        finally:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
