import { TollwayError } from '../common/errors.ts';

/** Longest template, in characters. */
const TEMPLATE_MAX = 2_000;
const PLACEHOLDER = /\{(click_id|ad_id|campaign_id)\}/g;

/**
 * Checks a destination before it becomes an ad's: an absolute `http` or `https` URL without credentials, with no
 * placeholder but ours, and none in its host. Returns it as it will be sent. Throws `bad_url`.
 */
export function parseUrlTemplate(text: string): string {
  const refuse = (expected: string): never => {
    throw new TollwayError('bad_url', `Expected ${expected}, got "${text.slice(0, 200)}"`);
  };
  if (text.length > TEMPLATE_MAX) refuse(`a URL of at most ${TEMPLATE_MAX} characters`);
  const unknown = text.replaceAll(PLACEHOLDER, '').match(/\{[^}]*\}?/);
  if (unknown) refuse(`no placeholder but {click_id}, {ad_id} and {campaign_id} (found ${unknown[0]})`);
  // A placeholder stands for something while the URL is taken apart; U+2028 and its like never reach a header.
  const filled = text.replaceAll(PLACEHOLDER, '0');
  if (!URL.canParse(filled)) refuse('an absolute URL such as https://example.com/?click={click_id}');
  const url = new URL(filled);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    refuse('a URL that begins with https:// or http://');
  if (url.username !== '' || url.password !== '') refuse('a URL without a user name or password');
  const authority = /^[a-z]+:\/\/([^/?#]*)/i.exec(text)?.[1] ?? '';
  if (authority === '' || authority.includes('{')) refuse('a host without placeholders');
  if (!/^[\x21-\x7e]+$/.test(text)) refuse('a URL in its encoded form, printable ASCII without spaces');
  return text;
}
