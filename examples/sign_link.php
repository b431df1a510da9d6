<?php
/**
 * Signs a link of Tollway, with PHP's standard functions alone.
 *
 *     php examples/sign_link.php KEY_ID SECRET AD_ID [NONCE EXPIRY]
 *
 * SECRET is the base64url text of LINK_KEYS. With NONCE (a UUIDv7) and EXPIRY (Unix seconds) it is an impression link, which is
 * charged once; without them an evergreen link. Prints the token: the link is PUBLIC_URL . '/c/' . token.
 */
declare(strict_types=1);

/** The token of a link: everything before its last dot is signed. */
function sign_link(string $keyId, string $secret, string $adId, ?string $nonce = null, ?string $expiry = null): string
{
    $parts = ['1', $keyId, $adId];
    if ($nonce !== null) {
        array_push($parts, str_replace('-', '', $nonce), $expiry);
    }
    $signed = implode('.', $parts);
    $key = base64_decode(strtr($secret, '-_', '+/'));
    $digest = hash_hmac('sha256', $signed, $key, true);
    // The tag is the first half of the digest, 22 characters without padding.
    $tag = rtrim(strtr(base64_encode(substr($digest, 0, 16)), '+/', '-_'), '=');
    return "$signed.$tag";
}

if (!in_array($argc, [4, 6], true)) {
    fwrite(STDERR, "Expected KEY_ID SECRET AD_ID [NONCE EXPIRY]\n");
    exit(1);
}
echo sign_link(...array_slice($argv, 1)), "\n";
