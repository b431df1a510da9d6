import { TollwayError } from '../../common/errors.ts';
import { isAddress, isPublicAddress } from '../../common/public-address.ts';
import { printable } from '../../common/text.ts';

const URL_CHARS_MAX = 2_000;

/** Which targets are allowed: `private` also allows http and addresses of private networks (`WEBHOOK_PRIVATE_TARGETS=on`). */
export type TargetRule = 'public' | 'private';

/**
 * Reads the URL of a webhook and returns it in its normal form, in which an IPv4 address has four decimal numbers. Throws `bad_url` unless it
 * is an https URL without user name, password and fragment, with at most 2000 characters, whose address is public if it has one.
 */
export function parseWebhookUrl(text: string, rule: TargetRule): string {
  const expected = rule === 'public' ? 'https://' : 'https:// or http://';
  const fail = (problem: string) => new TollwayError('bad_url', `The URL of the webhook: ${problem}`);
  const got = `got "${printable(text.slice(0, 200))}"`;
  if (!URL.canParse(text)) throw fail(`expected a URL that begins with ${expected}, ${got}`);
  const url = new URL(text);
  const isAllowed = url.protocol === 'https:' || (rule === 'private' && url.protocol === 'http:');
  // A URL with a password is not repeated.
  if (url.username !== '' || url.password !== '')
    throw fail('expected no user name and no password, got one');
  if (!isAllowed) throw fail(`expected a URL that begins with ${expected}, ${got}`);
  if (url.hash !== '') throw fail(`expected no fragment, ${got}`);
  if (url.href.length > URL_CHARS_MAX)
    throw fail(`expected at most ${URL_CHARS_MAX} characters, got ${url.href.length}`);
  const host = hostOf(url);
  if (rule === 'public' && isAddress(host) && !isPublicAddress(host))
    throw fail(`expected a public address, ${got}`);
  return url.href;
}

/** The host of a URL as a name or an address, without the brackets of IPv6. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}
