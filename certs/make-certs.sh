#!/usr/bin/env bash
# Makes a development CA and a certificate for each domain, for tests and demonstrations on your own machine.
#
#   make-certs.sh [-o FOLDER] [DOMAIN...]       defaults: dev beside this script; alpha.example beta.example
#
#   FOLDER/ca.pem                   what phones and tests trust        FOLDER/ca.key.pem   its key
#   FOLDER/DOMAIN/fullchain.pem     the domain's certificate           FOLDER/DOMAIN/privkey.pem
#
# Run it again at any time: it makes only what is missing, nearly expired, or signed by another CA. Keys have mode 0600.
set -eu

folder=$(cd "$(dirname "$0")" && pwd)/dev
while getopts o: option; do
    case $option in
        o) folder=$OPTARG ;;
        *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || set -- alpha.example beta.example

ca_days=3650
leaf_days=397
renew_within=$((30 * 86400))    # seconds

command -v openssl >/dev/null 2>&1 || { echo "make-certs.sh: openssl is not installed (Debian: apt-get install openssl)" >&2; exit 1; }

umask 077
mkdir -p "$folder"
chmod 755 "$folder"
work=$(mktemp -d "$folder/.work-XXXXXX")
trap 'rm -rf "$work"' EXIT

# Runs openssl, which chats even when all is well; what it said is shown only where it failed.
quietly() { openssl "$@" 2>"$work/said" || { cat "$work/said" >&2; exit 1; }; }

# Whether the certificate file exists and lasts long enough.
lasts() { [ -f "$1" ] && openssl x509 -in "$1" -noout -checkend "$renew_within" >/dev/null 2>&1; }

# Whether a certificate and a key belong together.
belong() { [ -f "$2" ] && [ "$(openssl x509 -in "$1" -noout -pubkey)" = "$(openssl pkey -in "$2" -pubout 2>/dev/null)" ]; }

# Puts finished files in place; each replaces its predecessor in one step.
place() { chmod "$1" "$2" && mv -f "$2" "$3"; }

ca=$folder/ca.pem ca_key=$folder/ca.key.pem
if ! { lasts "$ca" && belong "$ca" "$ca_key"; }; then
    quietly genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/ca.key"
    cat >"$work/ca.cnf" <<'CONFIG'
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
O = Gatehouse development
CN = Gatehouse development CA
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
CONFIG
    quietly req -new -x509 -config "$work/ca.cnf" -key "$work/ca.key" -days "$ca_days" -out "$work/ca.pem"
    place 600 "$work/ca.key" "$ca_key"
    place 644 "$work/ca.pem" "$ca"
    echo "made  $ca"
fi

for domain in "$@"; do
    case $domain in
        '' | .* | *[!A-Za-z0-9.-]*) echo "make-certs.sh: \"$domain\" is no domain name" >&2; exit 64 ;;
    esac
    pair=$folder/$domain
    certificate=$pair/fullchain.pem key=$pair/privkey.pem
    if lasts "$certificate" && belong "$certificate" "$key" &&
        openssl verify -CAfile "$ca" "$certificate" >/dev/null 2>&1; then
        echo "kept  $certificate, until $(openssl x509 -in "$certificate" -noout -enddate | cut -d= -f2)"
        continue
    fi
    mkdir -p "$pair"
    chmod 755 "$pair"
    quietly genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/key"
    # The names of a domain of the example configurations; localhost and its addresses for a phone that dials those.
    cat >"$work/leaf.cnf" <<CONFIG
[req]
prompt = no
distinguished_name = name
[name]
CN = $domain
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:$domain, DNS:sip.$domain, DNS:*.phones.$domain, DNS:localhost, IP:127.0.0.1, IP:::1
CONFIG
    quietly req -new -config "$work/leaf.cnf" -key "$work/key" -out "$work/request"
    quietly x509 -req -in "$work/request" -CA "$ca" -CAkey "$ca_key" -set_serial "0x$(openssl rand -hex 16)" \
        -days "$leaf_days" -extfile "$work/leaf.cnf" -extensions extensions -out "$work/certificate"
    place 600 "$work/key" "$key"
    place 644 "$work/certificate" "$certificate"
    echo "made  $certificate, until $(openssl x509 -in "$certificate" -noout -enddate | cut -d= -f2)"
done
