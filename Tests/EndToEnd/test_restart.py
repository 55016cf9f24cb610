"""PBX-06, RR-09, REG-06: the edge dies in the middle of a call, and what it gave out still holds."""

import os
import sqlite3
import time

from harness import addresses, pki
from harness.case import EdgeTest, each
from harness.dialog import establish
from harness.dns import A
from harness.phone import TLSServer
from harness.site import Site
from harness.tag import of
from harness.wait import Deadline, Timeout


class Restart(EdgeTest):
    """PBX-06, RR-09, REG-06: the edge dies in the middle of a call."""

    @classmethod
    def make_site(cls):
        site = Site()
        assert site.dns
        for kind in ("pbx", "proxy"):
            for transport in ("udp", "tcp"):
                site.add(f"{kind}-{transport}.example", kind, (transport,),
                         outbound={"ca": pki.authority().certificate})
        return site

    def restart(self, killed):
        if killed:
            self.edge.kill()
        else:
            self.edge.stop()
        for core in self.site.cores.values():
            core.drop_connections()
        self.edge.start()

    @each("pbx-udp", "pbx-tcp", "proxy-udp", "proxy-tcp")
    def test_PBX_06_RR_09__the_device_hangs_up_after_a_restart(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        self.restart(killed=False)
        phone.close()
        again = self.phone()
        call.caller.peer = again
        sent, seen, _ = call.hang_up()
        self.assertEqual(seen.uri, self.core.contact)
        self.assertEqual((of(seen).id, of(seen)["arrived"]), (of(call.seen).id, "sips"))

    @each("pbx-udp", "pbx-tcp")
    def test_PBX_06__the_core_hangs_up_after_the_device_registered_again(self):
        phone = self.phone()
        contact = f'<{phone.contact}>;reg-id=1;+sip.instance="<urn:uuid:1>"'
        phone.register(self.core, contact=contact)
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        self.restart(killed=True)
        phone.close()
        again = self.phone()
        again.register(self.core, contact=contact)
        call.caller.peer = again
        sent, seen, _ = call.hang_up("callee")
        self.assertEqual(seen.uri, again.contact)

    @each("pbx-udp", "pbx-tcp")
    def test_PBX_06__a_call_from_the_core_ends_after_a_restart(self):
        phone = self.phone()
        contact = f'<{phone.contact}>;reg-id=1;+sip.instance="<urn:uuid:1>"'
        seen, _ = phone.register(self.core, contact=contact)
        call = establish(self.core, phone, seen.contact.spec)
        self.restart(killed=False)
        phone.close()
        again = self.phone()
        registered, _ = again.register(self.core, contact=contact)
        self.assertEqual(registered.contact.spec, seen.contact.spec)
        call.callee.peer = again
        call.hang_up("caller")

    @each("proxy-udp", "proxy-tcp")
    def test_REG_06__after_a_restart_an_old_path_is_430(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        self.restart(killed=False)
        sent = self.core.request("MESSAGE", phone.contact, headers=[("Route", seen.values("Path")[0])])
        answer = self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id)
        self.assertEqual(answer.status, 430)

    @each("pbx-udp", "pbx-tcp")
    def test_PBX_11__after_a_restart_a_device_that_is_not_back_is_480(self):
        phone = self.phone(scheme="sip")
        seen, _ = phone.register(self.core)
        self.restart(killed=False)
        sent = self.core.request("MESSAGE", seen.contact.spec)
        answer = self.core.expect(lambda answer: answer.status > 100, call_id=sent.call_id)
        self.assertEqual(answer.status, 480)

    @each("pbx-udp", "proxy-udp")
    def test_PBX_06__a_call_outlives_a_new_secret_beside_the_old_one(self):
        phone = self.phone()
        call = establish(phone, self.core, f"sips:bob@{self.domain}")
        self.edge.stop()
        path = os.path.join(self.edge.folder, "state", "secret")
        with open(path) as file:
            old = file.read().strip().splitlines()[0]
        with open(path, "w") as file:
            file.write(f"{os.urandom(32).hex()}\n{old}\n")
        self.edge.start()
        phone.close()
        call.caller.peer = self.phone()
        # The tag of the call's first leg, signed with the old key, is believed on a new one.
        sent = self.core.request("MESSAGE", "sip:x@192.0.2.50;transport=tcp", self.edge.core_address,
                                 headers=[("X-Gatehouse-Session", call.seen.get("X-Gatehouse-Session"))])
        self.assert_warning(self.core.expect(403, call_id=sent.call_id), 399, "insecure leg refused")
        _, seen, _ = call.hang_up()
        self.assertEqual(seen.uri, self.core.contact)

    def stored(self, contact):
        """Waits until a binding is on disk; half a second later it has to be."""
        deadline = Deadline()
        path = os.path.join(self.edge.folder, "state", "bindings.sqlite")
        while deadline.left > 0:
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5) as database:
                if database.execute("SELECT 1 FROM bindings WHERE contact = ?", (contact.encode(),)).fetchone():
                    return
            time.sleep(0.01)
        raise Timeout("the binding did not get to the disk")

    @each("pbx-udp", "pbx-tcp")
    def test_PBX_11__after_a_crash_a_sips_contact_is_still_reached_over_tls_alone(self):
        host = f"phone-{self.domain}"
        address = addresses.fresh()
        self.site.dns.zone[host] = [A(address)]
        phone = self.phone(contact=f"sips:alice@{host}")
        seen, _ = phone.register(self.core)
        self.stored(phone.contact)
        self.restart(killed=True)
        phone.close()
        known = [one for one in self.edge.api("/api/bindings")[1]["items"] if one["contact"] == phone.contact]
        self.assertEqual([one["arrived"] for one in known], ["sips"])
        facts = known[0]["facts"]
        for fact in ("transport=tls", f"domain={self.domain}", "tls=TLSv1.3", "cipher=TLS_AES_", "peer=127.",
                     f'sni="{self.domain}"', f"listener={self.edge.outside}:5061"):
            self.assertIn(fact, facts)
        self.assertIsNone(known[0].get("flow"))
        listener = self.site.keep(TLSServer((address, 5061), pki.authority().issue(host)))
        sent = self.core.request("MESSAGE", seen.contact.spec)
        again = self.site.keep(listener.accept_phone("alice", self.domain))
        message = again.expect("MESSAGE", call_id=sent.call_id)
        self.assertEqual(message.uri, phone.contact)
        again.reply(message, 200)
        self.core.expect(200, call_id=sent.call_id)
        # Nobody there: the device is away, and nothing goes in clear.
        again.close()
        listener.close()
        sent = self.core.request("MESSAGE", seen.contact.spec)
        self.assert_warning(self.core.expect(480, call_id=sent.call_id), 380)
