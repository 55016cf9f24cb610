#!/usr/bin/env bash
# Loads the release binary, and Kamailio beside it, with the same traffic, and prints CPU time per call as a table for
# docs/benchmarks.md. Ports 5061, 5070, 5080 and 8061 of 127.0.0.1 must be free. `make bench` calls it.
#
#   BENCH_DIR          the load generator's folder, with sipload/ and peers/      [../shared/bench beside the repository]
#   KAMAILIO, KAMAILIO_MODULES   Kamailio's program and module folder             [none: Gatehouse alone]
#   MODES              [idle calls inbound register]         KINDS  core kinds of Gatehouse   [proxy pbx]
#   RUNS               runs of each mode, of which the median counts              [3]
#   COUNT              calls a run (REGISTERs: twice as many)                     [10000]
#   RATE               calls a second, from which a server can't save by taking several messages at once  [as many as it takes]
#   IDLE               idle connections                                           [2000]
#   WORKERS            Gatehouse's event loops [auto]        GATEHOUSE  another binary to measure
set -euo pipefail
cd "$(dirname "$0")/.."
: "${BENCH_DIR:=../shared/bench}" "${KAMAILIO:=}" "${KAMAILIO_MODULES:=}" "${MODES:=idle calls inbound register}"
: "${RATE:=}" "${KINDS=proxy pbx}" "${RUNS:=3}" "${COUNT:=10000}" "${IDLE:=2000}" "${WORKERS:=auto}" "${GATEHOUSE:=.build/release/gatehouse}"

if [ ! -d "$BENCH_DIR/sipload" ]; then
    echo "no load generator in $BENCH_DIR (sipload/): nothing is measured. BENCH_DIR names another folder."
    exit 0
fi
[ -x "$GATEHOUSE" ] || { echo "$GATEHOUSE is not there: make build" >&2; exit 1; }

work=$(mktemp -d)
server=""
finish() {
    [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
    [ ! -d "$work/kamailio" ] || kamailio stop || true
    rm -rf "$work"
}
trap finish EXIT

tools=$BENCH_DIR/sipload/build
if [ ! -x "$tools/sipload" ]; then
    cp -r "$BENCH_DIR/sipload" "$work/sipload"
    chmod -R u+w "$work/sipload"
    make -s -C "$work/sipload"
    tools=$work/sipload/build
fi
domains='d{0..9}.example.test'
"$tools/mkcerts" "$work/certs" "$domains"

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
for port in 5061 8061; do
    ! listening "$port" || { echo "port $port of 127.0.0.1 is taken: stop what listens there first" >&2; exit 1; }
done
[ "$(ulimit -n)" -ge $((IDLE + 1000)) ] || ulimit -n $((IDLE + 1000))

# Gatehouse as the edge of ten domains, its limits out of the way of one source's load.
gatehouse_start() { # kind
    {
        printf 'edge: { name: bench, workers: %s, state_dir: %s/state, secret_file: %s/state/secret, admin: { bind: 127.0.0.1:8061 } }\n' \
            "$WORKERS" "$work" "$work"
        printf 'core: { bind: [udp:127.0.0.1:5070, tcp:127.0.0.1:5070], trusted: [127.0.0.1/32] }\ndomains:\n'
        for number in 0 1 2 3 4 5 6 7 8 9; do
            name=d$number.example.test
            cat <<YAML
  - name: $name
    tls: { bind: [127.0.0.1:5061], certificate: $work/certs/$name.crt, private_key: $work/certs/$name.key }
    core: { kind: $1, targets: [udp:127.0.0.1:5080], health: { interval: off } }
    limits: { connections: 100000, connections_per_source: 100000, handshakes_per_second: 100000, requests_per_second_per_source: 1000000 }
YAML
        done
    } >"$work/gatehouse.yaml"
    "$GATEHOUSE" run --config "$work/gatehouse.yaml" >"$work/gatehouse.log" 2>&1 &
    server=$!
    for _ in $(seq 200); do
        listening 5061 && return
        kill -0 "$server" 2>/dev/null || break
        sleep 0.05
    done
    echo "gatehouse did not start:" >&2
    tail -n 20 "$work/gatehouse.log" >&2
    exit 1
}
gatehouse_stop() {
    kill "$server" 2>/dev/null || true
    sleep 0.3
    kill "$server" 2>/dev/null || true  # no drain
    wait "$server" || true
    server=""
}

# Its limit of connections from one source is in the way of `idle`.
kamailio() {
    EXTRA=tcp_accept_iplimit=0 STATE=$work/kamailio SIPLOAD_BIN=$tools KAMAILIO=$KAMAILIO KAMAILIO_MODULES=$KAMAILIO_MODULES \
        "$BENCH_DIR/peers/kamailio/run" "$@"
}

load() { # label, pid, mode, count, [more options]
    local label=$1 pid=$2 mode=$3 count=$4
    shift 4
    local options=(--target 127.0.0.1:5061 --domains "$domains" --dut-pid "$pid" --json "$work/run.json" --label "$label")
    case $mode in
        calls | inbound)
            options+=(--connections 100 --count "$count")
            if [ -n "$RATE" ]; then options+=(--rate "$RATE"); else options+=(--concurrency 100); fi
            ;;
        register) options+=(--connections 100 --concurrency 100 --count $((count * 2))) ;;
        idle) options+=(--connections "$IDLE" --hold-s 5 --ping-s 2 --expect-pong) ;;
    esac
    rm -f "$work/run.json"
    if ! "$tools/sipload" "$mode" "${options[@]}" "$@" >"$work/run.txt" 2>&1; then
        echo "$label, $mode: failures" >&2
        cat "$work/run.txt" >&2
        tail -n 5 "$work/gatehouse.log" >&2 2>/dev/null || true
        return 1
    fi
    [ ! -s "$work/run.json" ] || { tr -d '\n' <"$work/run.json"; echo; }
}

# Idle connections come first: memory per connection shows only in a server that has not held other things before. The other
# modes are measured warm.
measure() { # label, pid, [options of inbound]
    local label=$1 pid=$2 warm=""
    shift 2
    for mode in $MODES; do
        local more=()
        [ "$mode" != inbound ] || more=("$@")
        if [ "$mode" != idle ] && [ -z "$warm" ]; then
            for _ in 1 2 3; do load "$label" "$pid" calls "$COUNT" >/dev/null || return 0; done
            warm=yes
        fi
        for _ in $(seq "$RUNS"); do
            echo "measuring: $label, $mode" >&2
            load "$label" "$pid" "$mode" "$COUNT" ${more[@]+"${more[@]}"} >>"$work/results" || break
        done
    done
}

: >"$work/results"
for kind in $KINDS; do
    gatehouse_start "$kind"
    more=()
    [ "$kind" != pbx ] || more=(--edge-core 127.0.0.1:5070)
    measure "Gatehouse, $kind" "$server" ${more[@]+"${more[@]}"}
    gatehouse_stop
done
if [ -n "$KAMAILIO" ]; then
    kamailio start >/dev/null
    measure "$("$KAMAILIO" -V 2>/dev/null | sed -n 's/^version: kamailio \([^ ]*\).*/Kamailio \1/p')" "$(kamailio pids | head -n 1)"
    kamailio stop
else
    echo "KAMAILIO is not set: Gatehouse alone"
fi

python3 - "$work/results" <<'PYTHON'
import collections, json, statistics, sys

runs = collections.defaultdict(lambda: collections.defaultdict(list))
for line in open(sys.argv[1]):
    run = json.loads(line)
    runs[run["label"]][run["mode"]].append(run)

COLUMNS = [  # heading, mode, group of the report, field, format
    ("call, µs", "calls", "server", "cpu_us_per_op", "{:.0f}"),
    ("inbound call, µs", "inbound", "server", "cpu_us_per_op", "{:.0f}"),
    ("REGISTER, µs", "register", "server", "cpu_us_per_op", "{:.0f}"),
    ("connection set-up, µs", "idle", "server", "cpu_us_per_setup", "{:.0f}"),
    ("keep-alive, µs", "idle", "server", "cpu_us_per_op", "{:.0f}"),
    ("idle connection, KiB", "idle", "server", "kib_per_connection", "{:.1f}"),
    ("generator, µs a call", "calls", "generator", "cpu_us_per_op", "{:.0f}"),
]
columns = [c for c in COLUMNS if any(c[1] in modes for modes in runs.values())]
print("\nCPU time (user and system) of the whole server, median of the runs:\n")
print("| | " + " | ".join(c[0] for c in columns) + " |\n|---|" + "---:|" * len(columns))
for label, modes in runs.items():
    cells = []
    for _, mode, group, field, form in columns:
        values = [run[group][field] for run in modes[mode] if run.get(group, {}).get(field) is not None]
        fresh = field == "kib_per_connection"  # later runs take memory that the first one left
        cells.append(form.format(values[0] if fresh else statistics.median(values)) if values else "–")
    print(f"| {label} | " + " | ".join(cells) + " |")
PYTHON
