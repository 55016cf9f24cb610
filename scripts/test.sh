#!/usr/bin/env bash
# Runs every test there is and ends with the sum, `N passed, N failed`. Called by `make test`.
#
# The unit tests run in a debug build (overflow and exclusivity checks on), the end-to-end suite against the release build
# that users run. A part that fails does not keep the others from running; a build that fails does.
set -u
cd "$(dirname "$0")/.." || exit 1
: "${SWIFT:=swift}" "${DEBUG_FLAGS:=}" "${RELEASE_FLAGS:=-c release --product gatehouse}"

passed=0 failed=0 skipped=0
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
# The compiler leaves a folder behind for each of its jobs.
mkdir "$output/tmp"
export TMPDIR=$output/tmp

step() { printf '\n==> %s\n' "$*"; }
add() { passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3)); }

# Prints how many tests of an xUnit report passed, failed and were skipped; zeros where there is none. (The report's own sums
# count a test once for each failed expectation.)
sum_xunit() {
    python3 - "$1" <<'PYTHON'
import os, sys, xml.etree.ElementTree as xml
cases = list(xml.parse(sys.argv[1]).iter("testcase")) if os.path.exists(sys.argv[1]) else []
failed = sum(case.find("failure") is not None for case in cases)
skipped = sum(case.find("failure") is None and case.find("skipped") is not None for case in cases)
print(len(cases) - failed - skipped, failed, skipped)
PYTHON
}

step "$SWIFT build --build-tests $DEBUG_FLAGS"
# shellcheck disable=SC2086  # flags are words
"$SWIFT" build --build-tests $DEBUG_FLAGS || exit 1

step "$SWIFT test: the unit tests"
# shellcheck disable=SC2086
"$SWIFT" test --skip-build --disable-xctest --xunit-output "$output/unit.xml" $DEBUG_FLAGS
status=$?
read -r passes failures skips < <(sum_xunit "$output/unit.xml")
add "$passes" "$failures" "$skips"
if [ "$status" != 0 ] && [ "$failures" = 0 ]; then
    echo "swift test ended with status $status and named no failed test: it crashed, or could not start."
    add 0 1 0
fi

step "$SWIFT build $RELEASE_FLAGS"
# shellcheck disable=SC2086
"$SWIFT" build $RELEASE_FLAGS || exit 1

step "Tests/EndToEnd/run.py: the end-to-end suite against .build/release/gatehouse"
python3 Tests/EndToEnd/run.py | tee "$output/end-to-end.txt"
status=${PIPESTATUS[0]}
sum=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$output/end-to-end.txt" | tail -n 1)
if [[ $sum =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)? ]]; then
    add "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}" "${BASH_REMATCH[4]:-0}"
    [ "$status" = 0 ] || [ "${BASH_REMATCH[2]}" != 0 ] || add 0 1 0
else
    echo "the end-to-end suite ended with status $status before it could sum up"
    add 0 1 0
fi

step "scripts/mutate.py --check: the conditions of the security verdict that its tests are held to"
if python3 scripts/mutate.py --check; then add 1 0 0; else add 0 1 0; fi

step "scripts/conformance.py: docs/conformance.md against the tests"
if python3 scripts/conformance.py --results "$output/end-to-end.txt"; then add 1 0 0; else add 0 1 0; fi

printf '\n%d passed, %d failed' "$passed" "$failed"
[ "$skipped" = 0 ] || printf ', %d skipped' "$skipped"
printf '\n'
[ "$failed" = 0 ] && [ "$passed" != 0 ]
