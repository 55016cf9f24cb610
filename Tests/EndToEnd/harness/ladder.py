"""What crossed the wire in the running test, printed when it fails."""

import time


class Ladder:
    def __init__(self):
        self.clear()

    def clear(self):
        self.start, self.lines, self.size = time.monotonic(), [], 0

    def note(self, peer, arrow, other, octets):
        if self.size > 60_000:
            return
        text = octets.decode("latin-1") if isinstance(octets, bytes) else str(octets)
        text = text.replace("\r\n", "\n").rstrip("\n")
        if len(text) > 2500:
            text = text[:2500] + f"\n… {len(text)} characters"
        block = f"{time.monotonic() - self.start:8.3f} {peer} {arrow} {other}\n" + "\n".join(
            "         | " + line for line in text.split("\n"))
        self.lines.append(block)
        self.size += len(block)

    def text(self):
        return "\n".join(self.lines) + ("\n         (cut here)" if self.size > 60_000 else "")


ladder = Ladder()
