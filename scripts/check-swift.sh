#!/usr/bin/env bash
# Ends with a plain word where the Swift toolchain is missing or too old.
set -eu

swift=${SWIFT:-swift}
needed=6.3

if ! command -v "$swift" >/dev/null 2>&1; then
    cat >&2 <<TEXT
Swift is not installed (no \`$swift\` on the PATH).
Gatehouse needs Swift $needed or newer. Get it for Debian 12 from swift.org (Install, Linux), put its usr/bin on the PATH
and try again; or name it: make SWIFT=/path/to/usr/bin/swift
TEXT
    exit 1
fi

found=$("$swift" --version 2>&1 | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
if [ -z "$found" ]; then
    echo "\`$swift --version\` does not answer like a Swift toolchain. Gatehouse needs Swift $needed or newer, from swift.org." >&2
    exit 1
fi
if [ "$(printf '%s\n%s\n' "$needed" "$found" | sort -V | head -n 1)" != "$needed" ]; then
    echo "Swift $found is too old: Gatehouse needs Swift $needed or newer. Get it from swift.org, or name another one:" >&2
    echo "make SWIFT=/path/to/usr/bin/swift" >&2
    exit 1
fi
