#!/usr/bin/env bash
# Fuzzes what reads the network's bytes, with libFuzzer and AddressSanitizer. Usage: run.sh [SECONDS a target] [TARGET...]
#
# A target is a file of this folder. Its inputs start from Cases/TARGET, where every input that ever failed is kept: when one is
# found, it is written there as crash-…; mend the code, keep the file. SwiftPM is not used, since fuzzing flags would have to apply
# to the whole package.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
swift=${SWIFT:-swift}
compiler=$(dirname "$(command -v "$swift")")/swiftc
build=.build/fuzz
export SWIFT_BACKTRACE=enable=no  # libFuzzer and AddressSanitizer report crashes themselves
mkdir -p "$build"
flags=(-O -swift-version 6 -parse-as-library -sanitize=fuzzer,address -use-ld=lld -enable-upcoming-feature InternalImportsByDefault
    -enable-upcoming-feature ExistentialAny -enable-upcoming-feature MemberImportVisibility -I "$build" -package-name gatehouse)

module() { # name: Sources/name as an object with its module
    echo "==> compiling $1"
    "$compiler" "${flags[@]}" -module-name "$1" -wmo -emit-module -emit-module-path "$build/$1.swiftmodule" \
        -emit-object -o "$build/$1.o" Sources/"$1"/*.swift
}
module SIPMessage
module GatehousePolicy

targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(Datagram Stream URI DNS)
# Messages of others to start from, where they are.
corpus="${GATEHOUSE_SHARED:-../shared}/corpus"
status=0
for target in "${targets[@]}"; do
    sources=("Fuzz/$target.swift")
    [ "$target" != DNS ] || sources+=(Sources/GatehouseNet/DNS{Reply,Reader,CachePage}.swift)
    "$compiler" "${flags[@]}" -module-name "Fuzz$target" -wmo -o "$build/$target" "${sources[@]}" "$build/SIPMessage.o" "$build/GatehousePolicy.o"
    mkdir -p "$build/corpus/$target"
    seeds=()
    case $target in Datagram | Stream) [ ! -d "$corpus" ] || seeds=("$corpus") ;; esac
    echo "==> fuzzing $target for $seconds s"
    "$build/$target" -max_total_time="$seconds" -timeout=10 -max_len=8192 -print_final_stats=1 \
        -artifact_prefix="Fuzz/Cases/$target/" "$build/corpus/$target" "Fuzz/Cases/$target" \
        "${seeds[@]}" 2>"$build/$target.log" || status=1
    grep -E 'number_of_executed_units|average_exec_per_sec|Fatal error|ERROR|SUMMARY|Test unit written' "$build/$target.log" || tail -n 20 "$build/$target.log"
done
exit $status
