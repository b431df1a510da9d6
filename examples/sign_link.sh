#!/bin/sh
# Signs a link of Tollway, with a POSIX shell and openssl.
#
#     sh examples/sign_link.sh KEY_ID SECRET AD_ID [PUBLISHER] [NONCE EXPIRY]
#
# SECRET is the base64url text of LINK_KEYS. With NONCE (a UUIDv7) and EXPIRY (Unix seconds) it is an impression link, which is
# charged once; without them an evergreen link. PUBLISHER is 1-32 letters, digits, - and _. Prints the token: the link is PUBLIC_URL + "/c/" + token.
# The key is an argument of openssl, so other users of this machine can read it while it runs: use this for tests.
set -eu

case $# in
  3) signed="1.$1.$3" ;;
  4) signed="2.$1.$3.$4" ;;
  5) signed="1.$1.$3.$(printf %s "$4" | tr -d -).$5" ;;
  6) signed="2.$1.$3.$4.$(printf %s "$5" | tr -d -).$6" ;;
  *)
    echo 'Expected KEY_ID SECRET AD_ID [PUBLISHER] [NONCE EXPIRY]' >&2
    exit 1
    ;;
esac

# openssl wants the padding that base64url leaves out.
secret=$(printf %s "$2" | tr -- '-_' '+/')
while [ $((${#secret} % 4)) -ne 0 ]; do secret="$secret="; done
key=$(printf %s "$secret" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')

# The tag is the first half of the digest, 22 characters without padding.
tag=$(printf %s "$signed" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary |
  dd bs=1 count=16 2>/dev/null | openssl base64 -A | tr '+/' '-_' | tr -d =)
printf '%s.%s\n' "$signed" "$tag"
