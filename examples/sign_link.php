<?php
/**
 * Signs a link of Tollway, with PHP's standard functions alone.
 *
 *     php examples/sign_link.php KEY_ID SECRET AD_ID [PUBLISHER] [NONCE EXPIRY]
 *
 * SECRET is the base64url text of LINK_KEYS. With NONCE (a UUIDv7) and EXPIRY (Unix seconds) it is an impression link, which is
 * charged once; without them an evergreen link. PUBLISHER is 1-32 letters, digits, - and _. Prints the token: the link is PUBLIC_URL . '/c/' . token.
 */
declare(strict_types=1);

/** The token of a link: everything before its last dot is signed. */
function sign_link(
    string $keyId,
    string $secret,
    string $adId,
    ?string $publisher = null,
    ?string $nonce = null,
    ?string $expiry = null
): string {
    $parts = $publisher === null ? ['1', $keyId, $adId] : ['2', $keyId, $adId, $publisher];
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

if ($argc < 4 || $argc > 7) {
    fwrite(STDERR, "Expected KEY_ID SECRET AD_ID [PUBLISHER] [NONCE EXPIRY]\n");
    exit(1);
}
$arguments = array_slice($argv, 1);
if (count($arguments) % 2 === 1) {
    array_splice($arguments, 3, 0, [null]);
}
echo sign_link(...$arguments), "\n";
