"""The corpus of hostile and odd messages: nothing crashes, hangs or answers strangers, and the next call passes.

The folder is GATEHOUSE_SHARED/corpus, or `../shared/corpus` beside the repository; without it the tests are skipped.
"""

import csv
import hashlib
import os
import random
import re
import select
import socket

from harness.case import EdgeTest
from harness.dialog import establish
from harness.edge import REPOSITORY
from harness.ladder import ladder
from harness.sip import BadMessage
from harness.site import Site
from harness.streams import Closed
from harness.wait import Deadline, Timeout
from harness.worker import note

FOLDER = os.path.join(os.environ.get("GATEHOUSE_SHARED") or os.path.join(REPOSITORY, "..", "shared"), "corpus")
#: The port of the topmost Via.
SENT_BY_PORT = re.compile(
    rb"(?im)^v(?:ia)?[ \t]*:[^,\r\n]*?/[ \t]*[a-z]+\s+(?:\[[^\]]*\]|[^\s:;,]+)[ \t]*:[ \t]*(\d+)")


def load():
    """The rows of index.tsv whose file is unchanged, with `octets`."""
    with open(os.path.join(FOLDER, "index.tsv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        with open(os.path.join(FOLDER, row["file"]), "rb") as file:
            row["octets"] = file.read()
        if hashlib.sha256(row["octets"]).hexdigest() != row["sha256"]:
            raise AssertionError(f"{row['file']} is not the file that index.tsv describes")
    return rows


def transactions(octets):
    """(Call-ID, CSeq) of every message that `octets` may hold."""
    text = octets.decode("latin-1")
    calls = re.findall(r"(?im)^(?:call-id|i)[ \t]*:[ \t]*(.*?)[ \t]*\r?$", text)
    numbers = re.findall(r"(?im)^cseq[ \t]*:[ \t]*(.*?)[ \t]*\r?$", text)
    return {(call, number) for call in calls for number in numbers}


def rerouted(octets, domain):
    """The message with its Request-URI's host put to `domain` where that is simple, so that the gate alone decides."""
    head, line, rest = octets.partition(b"\r\n")
    changed = re.sub(rb"^(\S+ sips?:(?:[^@\s]*@)?)(\[[^\]\s]*\]|[A-Za-z0-9.\-]+)", rb"\g<1>" + domain.encode(), head)
    return changed + line + rest


#: Where a request says INVITE.
ACKNOWLEDGED = re.compile(rb"^INVITE |^cseq\s*:\s*\d+\s+INVITE", re.I | re.M)


def belongs(answer, request):
    """Whether an answer is one to this request, and not a late one to an earlier message."""
    if request.startswith(b"SIP/"):
        return False
    branch = re.search(rb"branch=([^;,\s]+)", answer)
    return branch is None or branch[1] in request


class Corpus(EdgeTest):
    domain = "a.example"
    limit = 90
    weight = 70

    @classmethod
    def make_site(cls):
        site = Site({"timers": {"header": "150ms", "body": "150ms", "t1": "50ms", "t2": "200ms", "t4": "200ms"}})
        # Foreign addresses lead to a port where nobody listens, so that no packet leaves this host.
        site.add("a.example", "proxy",
                 outbound={"proxy": f"sip:{site.edge.outside}:9;transport=tcp", "force_proxy": True},
                 limits={"requests_per_second_per_source": "unlimited", "connections_per_source": "unlimited",
                         "handshakes_per_second": "unlimited"})
        site.add("p.example", "pbx")
        return site

    def setUp(self):
        if not os.path.exists(os.path.join(FOLDER, "index.tsv")):
            self.skipTest(f"no corpus in {FOLDER}: set GATEHOUSE_SHARED")
        super().setUp()

    def healthy(self):
        """A whole call passes on both kinds of core."""
        for domain in ("a.example", "p.example"):
            self.domain = domain
            call = establish(self.phone(), self.core, f"sips:bob@{domain}")
            call.hang_up()
        self.domain = "a.example"

    def judge(self, row, column, outcome):
        expected = row[column].split("|")
        if outcome == "drop" and re.match(rb"\s*(ACK|CANCEL) ", row["octets"]):
            return True  # an ACK or stray CANCEL is never answered, and has nowhere to go
        if outcome == "close" and re.match(rb"\s*SIP/", row["octets"]):
            outcome = "drop"  # a response whose end is unclear ends the stream (FRAME-06)
        if "wait" in expected and outcome in ("forward", "400", "close", "drop"):
            return True  # what was awaited came: the fence behind it
        return outcome in expected or outcome == "forward" and any(word.startswith("forward-") for word in expected)

    def report(self, name, rows, column, outcomes):
        good = [row for row in rows if self.judge(row, column, outcomes[row["file"]])]
        wrong = [row for row in rows if row not in good]
        note(f"{name}: {len(good)} of {len(rows)} as expected ({100 * len(good) / len(rows):.1f} %)")
        for row in wrong:
            note(f"{row['file']}: {outcomes[row['file']]}, expected {row[column]} "
                 f"({row['basis']}: {row['note'] or row['shows'][:60]})")
        return good, wrong

    def outcome(self, answers, forwarded, closed=False):
        """One word for what happened."""
        finals = [status for status in answers if status >= 200]
        if forwarded or (finals and finals[0] in (403, 404, 407, 408, 421, 430, 439, 480, 481, 482, 500, 503)):
            return "forward"
        if finals:
            return str(finals[0])
        return "close" if closed else "drop"

    def seen_by_core(self):
        """What reached the core since the last look; each is refused, so that nothing stays pending."""
        self.core.drain(0)
        found = list(self.core.inbox)
        self.core.inbox.clear()
        for message in found:
            if message.is_request and message.method not in ("ACK",):
                try:
                    self.core.reply(message, 404)
                except (BadMessage, IndexError, KeyError, AttributeError):
                    pass
        return [message for message in found
                if not (message.is_request and message.method == "ACK"
                        and (message.branch, "INVITE") in self.core.seen)]  # the edge's own, to our 404

    def test_corpus_on_datagrams(self):
        rows, outcomes = load(), {}
        for row in rows:
            ladder.clear()
            try:
                outcomes[row["file"]] = self.outcome(*self.datagram(rerouted(row["octets"], self.domain)))
            except Timeout as error:
                raise Timeout(f"{row['file']}: {error}") from None
        self.edge.check_alive()
        self.healthy()
        good, _ = self.report("datagrams", rows, "expect_datagram", outcomes)
        self.assertGreaterEqual(len(good), 0.9 * len(rows))

    def datagram(self, octets):
        """Sends one datagram to the core port and then a fence. Returns (statuses, forwarded)."""
        core = self.core
        answers, sockets = [], [core.udp]
        via = SENT_BY_PORT.search(octets)
        if via and 0 < int(via[1]) < 65536 and int(via[1]) != 5060:
            # Without rport the answer goes to the port that the message names, at our address.
            extra = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            extra.bind((core.ip, int(via[1])))
            sockets.append(extra)
        fence = core.build("OPTIONS", f"sip:{self.edge.core}:5060", contact=None)
        try:
            core.send_octets(octets[:65000], self.edge.core_address)
            core.send_octets(fence.encode(), self.edge.core_address)
            deadline, fenced = Deadline(), False
            while True:
                ready = select.select(sockets, [], [], 0.01 if fenced else deadline.left)[0]
                if not ready:
                    if fenced:
                        return answers, False
                    raise Timeout("the edge answers no more")
                for sock in ready:
                    got = sock.recv(1 << 16)
                    if fence.call_id.encode() in got:
                        fenced = True
                    elif got.startswith(b"SIP/2.0 ") and belongs(got, octets):
                        answers.append(int(got[8:11]))
        finally:
            if any(status >= 300 for status in answers):
                # Acknowledged, or its copies would pass for answers to what comes next.
                core.send_octets(ACKNOWLEDGED.sub(lambda found: found[0].replace(b"INVITE", b"ACK"), octets)[:65000],
                                 self.edge.core_address)
            for extra in sockets[1:]:
                extra.close()

    def test_corpus_on_the_core_port_as_it_is(self):
        phone = self.phone()
        seen, _ = phone.register(self.core)
        path = seen.values("Path")[0]
        for row in load():
            self.core.send_octets(row["octets"][:65000], self.edge.core_address)
            self.core.discard()
        fence = self.core.build("OPTIONS", f"sip:{self.edge.core}:5060", contact=None)
        self.core.send(fence, self.edge.core_address)
        self.core.receive_until(lambda: any(message.call_id == fence.call_id for message in self.core.received))
        self.core.forget()
        sent = self.core.request("MESSAGE", phone.contact, self.edge.core_address, contact=None,
                                 headers=[("Route", path)])
        phone.reply(phone.expect(lambda message: message.call_id == sent.call_id), 200)
        self.core.expect(200, call_id=sent.call_id)
        self.edge.check_alive()
        self.healthy()

    def test_corpus_on_streams(self):
        rows, outcomes, phone = load(), {}, None
        self.answered = set()
        for row in rows:
            if phone is None:
                phone = self.phone("stream")
            ladder.clear()
            try:
                answers, forwarded, closed = self.stream(phone, rerouted(row["octets"], self.domain))
            except Timeout as error:
                raise Timeout(f"{row['file']}: {error}") from None
            self.answered |= transactions(row["octets"])
            outcomes[row["file"]] = self.outcome(answers, forwarded, closed)
            if closed:
                phone.close()
                phone = None
        self.edge.check_alive()
        self.healthy()
        good, _ = self.report("streams", rows, "expect_stream", outcomes)
        self.assertGreaterEqual(len(good), 0.9 * len(rows))

    def stream(self, phone, octets):
        """Sends the octets and then a fence. Returns (statuses, forwarded, closed)."""
        self.core.past.clear()
        answers, forwarded, fences = [], False, set()
        # Answers to earlier messages do not count; a response never gets one.
        late = self.answered - (set() if octets.startswith(b"SIP/") else transactions(octets))

        def send_fence():
            fences.add(phone.send(phone.build("OPTIONS", f"sip:{self.domain}", contact=None)).call_id)
            return Deadline(0.5)

        deadline = Deadline()
        try:
            phone.send(octets)
            fence = send_fence()
            while True:
                forwarded = bool(self.seen_by_core()) or forwarded
                if not phone.inbox and not phone._pump(Deadline(min(0.03, deadline.left))):
                    if deadline.passed:
                        raise Timeout("the edge neither answers nor closes")
                    if fence.passed:  # the first may have become the end of what was unfinished
                        fence = send_fence()
                while phone.inbox:
                    answer = phone.inbox.popleft()
                    if answer.call_id in fences:
                        self.core.drain(0.002)
                        if not (forwarded or [status for status in answers if status >= 200]
                                or re.match(rb"\s*(SIP/|ACK |CANCEL )", octets)):
                            self.core._pump(Deadline(0.1))
                        return answers, bool(self.seen_by_core()) or forwarded, False
                    if not answer.is_request and (answer.call_id, answer.get("CSeq")) not in late:
                        answers.append(answer.status)
        except Closed:
            answers += [message.status for message in phone.inbox
                        if not message.is_request and (message.call_id, message.get("CSeq")) not in late]
            phone.inbox.clear()
            return answers, bool(self.seen_by_core()) or forwarded, True

    def test_SEC_09__mutations(self):
        """Seeded mutations of the torture messages, each followed at times by a good OPTIONS that gets its 200."""
        seed = int(os.environ.get("GATEHOUSE_TEST_SEED") or random.randrange(1 << 30))
        note(f"seed {seed}")
        generator = random.Random(seed)
        torture = [row["octets"] for row in load() if row["file"].startswith(("rfc4475", "rfc5118"))]
        deadline, count, phone = Deadline(8), 0, None
        while not deadline.passed:
            for _ in range(100):
                octets = mutated(generator, generator.choice(torture))
                count += 1
                self.core.send_octets(octets[:60000], self.edge.core_address)
                try:
                    if phone is None:
                        phone = self.phone("stream")
                    phone.stream.write(octets)
                except (Closed, OSError):
                    if phone:
                        phone.close()
                    phone = None
            if phone:
                phone.close()
                phone = None
            self.core.discard()
            good = self.phone("good")
            good.request("OPTIONS", f"sip:{self.domain}", contact=None)
            good.expect(200)
            good.close()
        note(f"{count} mutations over TLS outside and over UDP inside")
        self.edge.check_alive()
        self.healthy()


def mutated(generator, octets):
    octets = bytearray(octets)
    for _ in range(generator.randint(1, 6)):
        kind, place = generator.randrange(6), generator.randrange(len(octets) + 1)
        if kind == 0 and octets:
            octets[place % len(octets)] = generator.randrange(256)
        elif kind == 1:
            del octets[place:place + generator.randint(1, 40)]
        elif kind == 2:
            octets[place:place] = bytes(generator.choice(b"\r\n \t;,<>\"@:%=/\\\0\xff9") for _ in range(
                generator.randint(1, 5)))
        elif kind == 3:
            octets[place:place] = octets[place:place + generator.randint(1, 200)]
        elif kind == 4:
            octets[place:place] = generator.choice((b"\r\n", b"99999999999999999999", b"-1", b"\r\n\r\n", b"sips:",
                                                    b"Content-Length: 4294967296\r\n", b"%00", b"[::1]", b"@" * 3000))
        else:
            other = generator.randrange(len(octets) + 1)
            low, high = sorted((place, other))
            octets[low:high] = octets[low:high][::-1]
    return bytes(octets)
