// Signs a link of Tollway, with Go's standard library alone.
//
//	go run examples/sign_link.go KEY_ID SECRET AD_ID [PUBLISHER] [NONCE EXPIRY]
//
// SECRET is the base64url text of LINK_KEYS. With NONCE (a UUIDv7) and EXPIRY (Unix seconds) it is an impression link, which
// is charged once; without them an evergreen link. PUBLISHER is 1-32 letters, digits, - and _. Prints the token: the link is PUBLIC_URL + "/c/" + token.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
)

// signLink returns the token of a link: everything before its last dot is signed. An empty nonce makes an evergreen link, an
// empty publisher a link without one.
func signLink(keyID, secret, adID, publisher, nonce, expiry string) (string, error) {
	key, err := base64.RawURLEncoding.DecodeString(secret)
	if err != nil {
		return "", fmt.Errorf("expected a secret in base64url: %w", err)
	}
	parts := []string{"1", keyID, adID}
	if publisher != "" {
		parts = []string{"2", keyID, adID, publisher}
	}
	if nonce != "" {
		parts = append(parts, strings.ReplaceAll(nonce, "-", ""), expiry)
	}
	signed := strings.Join(parts, ".")
	digest := hmac.New(sha256.New, key)
	digest.Write([]byte(signed))
	// The tag is the first half of the digest, 22 characters without padding.
	return signed + "." + base64.RawURLEncoding.EncodeToString(digest.Sum(nil)[:16]), nil
}

func main() {
	arguments := os.Args[1:]
	if len(arguments) < 3 || len(arguments) > 6 {
		fmt.Fprintln(os.Stderr, "Expected KEY_ID SECRET AD_ID [PUBLISHER] [NONCE EXPIRY]")
		os.Exit(1)
	}
	publisher, times := "", arguments[3:]
	if len(times)%2 == 1 {
		publisher, times = times[0], times[1:]
	}
	times = append(times, "", "")
	token, err := signLink(arguments[0], arguments[1], arguments[2], publisher, times[0], times[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(token)
}
