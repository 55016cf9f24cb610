#!/usr/bin/env python3
"""Shows that the unit tests hold each condition of the security verdict: falsifies one after another, and has the tests fail.

  mutate.py           make each change of scripts/mutations.py in a copy, build it there and run the tests of the policy;
                      exit status 1 if one survives, does not build, or no longer finds its text
  mutate.py --check   only see that each text stands exactly once in its file (a part of `make test`)
  mutate.py --list    print the changes

The whole table takes twenty minutes or more, so it is no part of `make test`: run it after a change to what it names.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from mutations import MUTATIONS

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = ("Sources/SIPMessage", "Sources/GatehousePolicy", "Tests/GatehousePolicyTests", "Tests/TestSupport")
SUITES = "SecurityVerdict|SessionSecurity|Referral|SessionTag|Token|RouteProcessing|Resolution|NextHop|CalendarDate"
FAILED_TEST = re.compile(r'^✘ Test (?:"(.+?)"|(\S+)) (?:with|failed|recorded) ', re.M)
# What a mutant may take before it counts as killed: one that never ends is noticed as well.
TEST_LIMIT_IN_SECONDS = 300
# Nobody looks into these builds.
FASTER = ("-debug-info-format", "none")
# The core's targets alone, without the rim and its libraries, so that a mutant is built in seconds.
MANIFEST = """\
// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "mutant",
    targets: [
        .target(name: "SIPMessage", swiftSettings: settings),
        .target(name: "GatehousePolicy", dependencies: ["SIPMessage"], swiftSettings: settings),
        .testTarget(
            name: "GatehousePolicyTests", dependencies: ["GatehousePolicy", "SIPMessage", "TestSupport"],
            swiftSettings: settings),
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
"""


def table():
    """(file, text, replacement, meaning) for each mutation, in the order of the table."""
    for file, entries in MUTATIONS.items():
        for text, replacement, meaning in entries:
            yield file, text, replacement, meaning


def faults():
    """What is wrong with the table: a text that does not stand exactly once in its file, or a change that changes nothing."""
    for file, text, replacement, meaning in table():
        count = (ROOT / file).read_text().count(text)
        if count != 1:
            yield f"{file}: the text of \"{meaning}\" stands there {count} times and not once:\n{text}"
        if text == replacement:
            yield f"{file}: \"{meaning}\" changes nothing"


class Scratch:
    """A package of the core's targets in a directory of its own; the checkout is only read."""

    def __init__(self, directory):
        self.directory = directory
        # The compiler leaves folders behind, one a job.
        self.temporary = directory / "tmp"
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        (directory / "Package.swift").write_text(MANIFEST)
        for part in PARTS:
            shutil.rmtree(directory / part, ignore_errors=True)
            shutil.copytree(ROOT / part, directory / part)

    def swift(self, *arguments, limit=None):
        """The exit status (None: it took too long) and what was printed."""
        # The walk at random is short here: a mutant shall fail in a table, which finds it each time.
        environment = {**os.environ, "GATEHOUSE_VERDICT_CASES": "1000", "TMPDIR": str(self.temporary)}
        try:
            done = subprocess.run([os.environ.get("SWIFT", "swift"), *arguments], cwd=self.directory, env=environment,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=limit)
        except subprocess.TimeoutExpired as error:
            return None, (error.stdout or b"").decode(errors="replace")
        return done.returncode, done.stdout

    def build(self):
        return self.swift("build", "--build-tests", "--disable-xctest", *FASTER)

    def test(self):
        return self.swift("test", "--skip-build", "--disable-xctest", *FASTER, "--filter", SUITES,
                          limit=TEST_LIMIT_IN_SECONDS)

    def verdict(self, file, text, replacement):
        """"killed", "survived" or "does not build", and by what test."""
        path = self.directory / file
        original = path.read_text()
        path.write_text(original.replace(text, replacement))
        try:
            status, output = self.build()
            if status != 0:
                return "does not build", "\n".join(line for line in output.splitlines() if "error:" in line)
            status, output = self.test()
            if status == 0:
                return "survived", ""
            found = FAILED_TEST.search(output)
            return "killed", found[1] or found[2] if found else "the tests did not end" if status is None else "the tests crashed"
        finally:
            path.write_text(original)


def run(scratch, only):
    status, output = scratch.build()
    if status == 0:
        status, output = scratch.test()
    if status != 0:
        print(output[-4000:])
        print("mutate.py: the tests fail before anything is changed")
        return 1
    counts = {"killed": 0, "survived": 0, "does not build": 0}
    began = time.monotonic()
    for file, text, replacement, meaning in table():
        if only and only.lower() not in f"{file} {meaning}".lower():
            continue
        outcome, by = scratch.verdict(file, text, replacement)
        counts[outcome] += 1
        print(f"{outcome:8}  {pathlib.Path(file).name}: {meaning}" + (f"  [{by}]" if by else ""), flush=True)
    total = sum(counts.values())
    print(f"\n{total} mutations in {time.monotonic() - began:.0f} s: "
          + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return 0 if total and counts["killed"] == total else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare the table with the sources")
    parser.add_argument("--list", action="store_true", help="print the table")
    parser.add_argument("--only", metavar="TEXT", help="the mutations whose file or meaning has TEXT in it")
    parser.add_argument("--directory", type=pathlib.Path, metavar="DIR",
                        help="build there and keep it, so that the next run builds less (default: a temporary directory)")
    options = parser.parse_args()
    if options.list:
        for file, _, _, meaning in table():
            print(f"{file}: {meaning}")
        return 0
    wrong = list(faults())
    for fault in wrong:
        print(fault)
    if wrong or options.check:
        print(f"mutate.py: {sum(1 for _ in table())} mutations, {len(wrong)} wrong")
        return 1 if wrong else 0
    if options.directory:
        return run(Scratch(options.directory.resolve()), options.only)
    with tempfile.TemporaryDirectory(prefix="gatehouse-mutate-") as directory:
        return run(Scratch(pathlib.Path(directory)), options.only)


if __name__ == "__main__":
    sys.exit(main())
