#!/usr/bin/env bash
# Installs the Debian packages of the named groups that are not there yet. Usage: install.sh GROUP...
set -eu

packages=()
for group in "$@"; do
    case $group in
        build) packages+=(git pkg-config libssl-dev libc-ares-dev libyaml-dev libsqlite3-dev) ;;
        certs) packages+=(openssl) ;;
        # The peers of the end-to-end suite, and what it is written in.
        test) packages+=(python3 openssl sip-tester baresip-core kamailio kamailio-tls-modules dnsmasq-base nsd) ;;
        *) echo "install.sh: no group $group" >&2; exit 64 ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "This is not a Debian system, so nothing is installed. Needed are what Debian calls: ${packages[*]}" >&2
    exit 0
fi

missing=()
for package in "${packages[@]}"; do
    case $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true) in
        ?i*) ;;
        *) missing+=("$package") ;;
    esac
done
[ ${#missing[@]} -gt 0 ] || exit 0

echo "==> installing with apt-get: ${missing[*]}"
as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "You are not root and there is no sudo. Have root run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
root() { ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive "$@"; }

# Debian starts a server when it installs it. The tests start their own Kamailio and NSD, so the system's stay down: their
# units are masked until the packages are in place, and disabled afterwards.
kept_down=()
if [ -d /run/systemd/system ]; then
    for package in "${missing[@]}"; do
        case $package in kamailio | nsd) kept_down+=("$package.service") ;; esac
    done
fi
[ ${#kept_down[@]} -eq 0 ] || root systemctl mask --runtime --quiet "${kept_down[@]}"
release() {
    [ ${#kept_down[@]} -eq 0 ] || {
        root systemctl --quiet disable "${kept_down[@]}" || true
        root systemctl --quiet unmask --runtime "${kept_down[@]}" || true
    }
}
trap release EXIT

root apt-get update -qq
root apt-get install --yes -qq --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}"
