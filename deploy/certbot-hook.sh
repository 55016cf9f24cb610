#!/usr/bin/env bash
# Certbot's deploy hook: copies a renewed certificate to where Gatehouse reads it, and reloads. Install it as
# /etc/letsencrypt/renewal-hooks/deploy/gatehouse (mode 0755); certbot runs it as root after each renewal.
#
# Certbot says which certificate it was: RENEWED_LINEAGE is its folder, /etc/letsencrypt/live/NAME. It goes to
# $GATEHOUSE_CERTS/NAME/{fullchain,privkey}.pem, if that folder exists: make it once for each certificate that Gatehouse serves.
set -eu

: "${RENEWED_LINEAGE:?is set by certbot; to copy one by hand: RENEWED_LINEAGE=/etc/letsencrypt/live/NAME $0}"
certs=${GATEHOUSE_CERTS:-/etc/gatehouse/certs}
owner=${GATEHOUSE_OWNER:-root:gatehouse}
unit=${GATEHOUSE_UNIT:-gatehouse.service}

name=$(basename "$RENEWED_LINEAGE")
target=$certs/$name
[ -d "$target" ] || exit 0    # not one of ours

umask 077
new=$(mktemp -d "$target/.new-XXXXXX")
trap 'rm -rf "$new"' EXIT

# The copy is complete, and its key fits, before anything is replaced.
for file in fullchain.pem privkey.pem; do
    cp -L "$RENEWED_LINEAGE/$file" "$new/$file"
    chown "$owner" "$new/$file"
done
chmod 644 "$new/fullchain.pem"
chmod 640 "$new/privkey.pem"
if [ "$(openssl x509 -in "$new/fullchain.pem" -noout -pubkey)" != "$(openssl pkey -in "$new/privkey.pem" -pubout)" ]; then
    echo "gatehouse: the key in $RENEWED_LINEAGE does not fit its certificate; nothing was copied" >&2
    exit 1
fi
mv -f "$new/privkey.pem" "$target/privkey.pem"
mv -f "$new/fullchain.pem" "$target/fullchain.pem"

# A gateway that is not running reads the new files when it starts.
if systemctl is-active --quiet "$unit"; then
    systemctl reload "$unit"
fi
