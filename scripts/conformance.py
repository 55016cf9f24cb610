#!/usr/bin/env python3
"""Holds docs/conformance.md to the tests: a row that claims a test has one, and a test that names a row finds it.

  conformance.py                 check; exit status 1 if the page and the tests disagree
  conformance.py --update        write the column "tests", and a state for rows that were "not yet" and now have tests
  conformance.py --results FILE  also name the rows whose tests the end-to-end run printed to FILE has skipped
"""

import argparse
import collections
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "conformance.md"
STATES = ("pass", "part", "not yet")
ID = r"[A-Z][A-Z0-9]*-[A-Za-z0-9-]+"
ROW = re.compile(rf"\| (~~)?({ID})(?:~~)?( ★)? \|")
SWIFT_TEST = re.compile(rf'@(?:Test|Suite)\(\s*"({ID}(?:, {ID})*):')
PYTHON_TEST = re.compile(r"^(test_\w+)\.\w+\.test_(?P<ids>\w+?)__\w")


class Test(collections.namedtuple("Test", "file name end_to_end")):
    """A test that carries an id: the file it is in, its name, and whether it drives the whole binary."""


def swift_tests():
    """(id, Test) for every @Test and @Suite whose name starts with ids."""
    for path in sorted((ROOT / "Tests").rglob("*.swift")):
        for match in SWIFT_TEST.finditer(path.read_text()):
            for name in match[1].split(", "):
                yield name, Test(path.name, match[1], False)


def end_to_end_tests(rows):
    """(id, Test) for every end-to-end test whose name starts with an id, as `run.py -l` lists them.

    A function's name has an underscore where the id has a dash, and `__` ends the ids: test_MSG_01__sentence,
    test_MSG_01_MSG_02__sentence.
    """
    listing = subprocess.run([sys.executable, str(ROOT / "Tests/EndToEnd/run.py"), "-l"], stdout=subprocess.PIPE,
                             text=True, check=True).stdout
    by_function_name = {row.replace("-", "_"): row for row in rows}
    seen = set()
    for line in listing.splitlines():
        match = PYTHON_TEST.match(line)
        if not match or line.split(" ")[0] in seen:
            continue
        seen.add(line.split(" ")[0])
        for name in split_ids(match["ids"], by_function_name):
            yield name, Test(f"{match[1]}.py", line.split(" ")[0].rpartition(".")[2], True)


def split_ids(text, known):
    """The ids in `MSG_01_MSG_02`, the longest known one first; what is unknown comes back as it is."""
    words, ids = text.split("_"), []
    while words:
        for count in range(len(words), 0, -1):
            row = known.get("_".join(words[:count]))
            if row:
                ids.append(row)
                words = words[count:]
                break
        else:
            return ids + ["-".join(words)]
    return ids


def cells(line):
    """The cells of a table row; a pipe inside `code` or after a backslash separates nothing."""
    parts, current, code, previous = [], "", False, ""
    for character in line.strip():
        if character == "`":
            code = not code
        if character == "|" and not code and previous != "\\":
            parts.append(current.strip())
            current = ""
        else:
            current += character
        previous = character
    return parts[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--results", type=pathlib.Path, metavar="FILE")
    options = parser.parse_args()

    lines = PAGE.read_text().split("\n")
    rows, retired, errors = {}, set(), []
    for index, line in enumerate(lines):
        match = ROW.match(line)
        if not match:
            continue
        if match[1]:
            retired.add(match[2])
        elif match[2] in rows:
            errors.append(f"docs/conformance.md:{index + 1}: {match[2]} stands there twice")
        else:
            rows[match[2]] = index

    tests = collections.defaultdict(list)
    for name, test in list(swift_tests()) + list(end_to_end_tests(rows)):
        if name in rows:
            tests[name].append(test)
        else:
            why = "is a retired row" if name in retired else "is no row of docs/conformance.md"
            errors.append(f"{test.file}: {test.name}: {name} {why}")

    sums = collections.Counter()
    for name, index in rows.items():
        where, row = f"docs/conformance.md:{index + 1}: {name}", cells(lines[index])
        if len(row) != 6 or row[4] not in STATES:
            errors.append(f"{where}: not a row of six cells with a state of {', '.join(STATES)}")
            continue
        state, found = row[4], sorted({test.file for test in tests[name]})
        column = ", ".join(found)
        if options.update:
            if state == "not yet" and found:
                state = "pass" if any(test.end_to_end for test in tests[name]) else "part"
            elif not found:
                state = "not yet"
            lines[index] = f"| {' | '.join(row[:4])} | {state} | {column}{' ' if column else ''}|"
        elif state == "not yet" and found:
            errors.append(f"{where}: \"not yet\", but there are tests of it in {column}")
        elif state != "not yet" and not found:
            errors.append(f"{where}: \"{state}\", but no test carries its id")
        elif row[5] != column:
            errors.append(f"{where}: the column \"tests\" should say \"{column}\"")
        sums[state] += 1

    if options.update:
        PAGE.write_text("\n".join(lines))
    if options.results:
        skipped = set(re.findall(r"^skip +\d+ ms  (\w+)", options.results.read_text(), re.MULTILINE))
        for name in rows:
            if tests[name] and all(test.name in skipped for test in tests[name]):
                print(f"{name}: all of its tests were skipped here")
    for error in errors:
        print(error)
    if errors and not options.update:
        print("`scripts/conformance.py --update` brings the columns \"tests\" and \"state\" up to date.")
    print(f"{len(rows)} rows: " + ", ".join(f"{sums[state]} {state}" for state in STATES))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
