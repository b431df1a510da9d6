#!/usr/bin/env python3
"""Signs a link of Tollway, with Python's standard library alone.

    python3 examples/sign_link.py KEY_ID SECRET AD_ID [PUBLISHER] [NONCE EXPIRY]

SECRET is the base64url text of LINK_KEYS. With NONCE (a UUIDv7) and EXPIRY (Unix seconds) it is an impression link, which is
charged once; without them an evergreen link. PUBLISHER is 1-32 letters, digits, - and _. Prints the token: the link is PUBLIC_URL + "/c/" + token.
"""
import base64
import hashlib
import hmac
import sys


def sign_link(key_id, secret, ad_id, publisher=None, nonce=None, expiry=None):
    """The token of a link: everything before its last dot is signed."""
    parts = ["1", key_id, str(ad_id)] if publisher is None else ["2", key_id, str(ad_id), publisher]
    if nonce is not None:
        parts += [nonce.replace("-", ""), str(expiry)]
    signed = ".".join(parts)
    key = base64.urlsafe_b64decode(secret + "=" * (-len(secret) % 4))
    digest = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    # The tag is the first half of the digest, 22 characters without padding.
    tag = base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")
    return f"{signed}.{tag}"


if __name__ == "__main__":
    if not 4 <= len(sys.argv) <= 7:
        sys.exit("Expected KEY_ID SECRET AD_ID [PUBLISHER] [NONCE EXPIRY]")
    arguments = sys.argv[1:]
    if len(arguments) % 2 == 1:
        arguments.insert(3, None)
    print(sign_link(*arguments))
