#!/usr/bin/env python3
"""Verifies a webhook of Tollway, with Python's standard library alone.

    WEBHOOK_SECRET=whsec_... python3 examples/verify_webhook.py ID TIMESTAMP SIGNATURE < body

ID, TIMESTAMP and SIGNATURE are the headers webhook-id, webhook-timestamp and webhook-signature. The body must have the bytes
that were received. Prints "valid", or ends with 1.
"""
import base64
import hashlib
import hmac
import os
import sys
import time

TOLERANCE_SECONDS = 300


def is_valid(secret, event_id, timestamp, signatures, body):
    """Whether one of the signatures was made with the secret, at most five minutes ago."""
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{event_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    expected = "v1," + base64.b64encode(digest).decode()
    # While a secret is rotated, there are two signatures.
    return any(hmac.compare_digest(one.encode(), expected.encode()) for one in signatures.split(" "))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("Expected ID TIMESTAMP SIGNATURE")
    if not is_valid(os.environ["WEBHOOK_SECRET"], *sys.argv[1:], sys.stdin.buffer.read()):
        sys.exit("not valid")
    print("valid")
