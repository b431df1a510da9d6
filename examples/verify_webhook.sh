#!/bin/sh
# Verifies a webhook of Tollway, with a POSIX shell and openssl.
#
#     WEBHOOK_SECRET=whsec_... sh examples/verify_webhook.sh ID TIMESTAMP SIGNATURE < body
#
# ID, TIMESTAMP and SIGNATURE are the headers webhook-id, webhook-timestamp and webhook-signature. The body must have the bytes
# that were received. Prints "valid", or ends with 1.
# The key is an argument of openssl, so other users of this machine can read it while it runs: use this for tests.
set -eu

if [ $# -ne 3 ]; then
  echo 'Expected ID TIMESTAMP SIGNATURE' >&2
  exit 1
fi
case $2 in '' | *[!0-9]*)
  echo 'not valid' >&2
  exit 1
  ;;
esac
age=$(($(date +%s) - $2))
if [ "$age" -gt 300 ] || [ "$age" -lt -300 ]; then
  echo 'not valid' >&2
  exit 1
fi

key=$(printf %s "${WEBHOOK_SECRET#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
expected="v1,$({ printf '%s.%s.' "$1" "$2" && cat; } |
  openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)"

# While a secret is rotated, there are two signatures.
for signature in $3; do
  if [ "$signature" = "$expected" ]; then
    echo valid
    exit 0
  fi
done
echo 'not valid' >&2
exit 1
