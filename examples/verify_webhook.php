<?php
// Verifies a webhook of Tollway, with PHP's standard library alone.
//
//     WEBHOOK_SECRET=whsec_... php examples/verify_webhook.php ID TIMESTAMP SIGNATURE < body
//
// ID, TIMESTAMP and SIGNATURE are the headers webhook-id, webhook-timestamp and webhook-signature. The body must have the bytes
// that were received. Prints "valid", or ends with 1.
declare(strict_types=1);

const TOLERANCE_SECONDS = 300;

// Whether one of the signatures was made with the secret, at most five minutes ago.
function isValid(string $secret, string $id, string $timestamp, string $signatures, string $body): bool
{
    if (!ctype_digit($timestamp) || abs(time() - (int) $timestamp) > TOLERANCE_SECONDS) {
        return false;
    }
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret), true);
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$timestamp.$body", $key, true));
    // While a secret is rotated, there are two signatures.
    foreach (explode(' ', $signatures) as $signature) {
        if (hash_equals($expected, $signature)) {
            return true;
        }
    }
    return false;
}

if ($argc !== 4) {
    fwrite(STDERR, "Expected ID TIMESTAMP SIGNATURE\n");
    exit(1);
}
if (!isValid((string) getenv('WEBHOOK_SECRET'), $argv[1], $argv[2], $argv[3], file_get_contents('php://stdin'))) {
    fwrite(STDERR, "not valid\n");
    exit(1);
}
echo "valid\n";
