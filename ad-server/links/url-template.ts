import { TollwayError } from '../../common/errors.ts';

/** Longest template, in characters. */
const TEMPLATE_MAX = 2_000;
/** How much of a template an error quotes, in characters. */
const QUOTED_MAX = 200;
const NAMES = ['click_id', 'ad_id', 'campaign_id'] as const;
const PLACEHOLDER = /\{(click_id|ad_id|campaign_id)\}/g;

const NAME = '(click_?id|ad_?id|campaign_?id)';
/**
 * What people write for a placeholder in the style of another system, or where a brace was percent-encoded, once or more often, on its way:
 * `${name}`, `{{.name}}`, `%%NAME%%`, `@@name@@`, `[name]`, `<name>`, `%name%`, `%7Bname%7D`, `%255Bname%255D`. The name is in the first
 * group. An index such as `filter[ad_id]` is none: letters, digits or a bracket stand before it.
 */
const FOREIGN_MACROS: readonly RegExp[] = [
  new RegExp(`(?:\\$|%(?:25)*24)?(?:\\{|%(?:25)*7b){1,2}\\s*\\.?${NAME}\\s*(?:\\}|%(?:25)*7d){1,2}`, 'gi'),
  new RegExp(`(?:%%|%25%25)${NAME}(?:%%|%25%25)`, 'gi'),
  new RegExp(`(?:@|%(?:25)*40){2}${NAME}(?:@|%(?:25)*40){2}`, 'gi'),
  new RegExp(`(?<![\\w\\]]|%5d)(?:\\[|%(?:25)*5b)${NAME}(?:\\]|%(?:25)*5d)`, 'gi'),
  new RegExp(`(?:<|%(?:25)*3c)${NAME}(?:>|%(?:25)*3e)`, 'gi'),
  new RegExp(`(?<![a-z0-9_])__${NAME}__`, 'gi'),
  // Not the percent sign of an encoded character: the name follows at once.
  new RegExp(`%${NAME}%`, 'gi'),
];
const HTML_ENTITY = /&(amp|lt|gt|quot|apos|#\d{1,6}|#x[\da-f]{1,5});/i;

/**
 * Checks a destination before it becomes an ad's: an absolute `http` or `https` URL without credentials, with no
 * placeholder but ours, and none in its host. A template that cannot be meant as it stands (another system's macro, a brace that was
 * percent-encoded, an HTML entity) is refused with the likely one. Returns the template as it was given. Throws `bad_url`.
 */
export function parseUrlTemplate(text: string): string {
  const refuse = (expected: string): never => {
    throw new TollwayError('bad_url', `Expected ${expected}, got "${text.slice(0, QUOTED_MAX)}"`);
  };
  if (text.length > TEMPLATE_MAX) refuse(`a URL of at most ${TEMPLATE_MAX} characters`);
  if (!/^[\x21-\x7e]*$/.test(text)) refuse('a URL in its encoded form, printable ASCII without spaces');
  if (text.includes('\\')) refuse('a URL with / and no \\ (browsers read \\ as /)');
  const meant = correctedTemplate(text);
  if (meant !== text) refuse(`a template such as ${meant.slice(0, QUOTED_MAX)}`);
  const stray = text.replaceAll(PLACEHOLDER, '').match(/\{[^{}]*\}?|\}|%%\w+%%/);
  if (stray) refuse(`no placeholder but {click_id}, {ad_id} and {campaign_id} (found ${stray[0]})`);
  // A placeholder stands for something while the URL is taken apart.
  const filled = text.replaceAll(PLACEHOLDER, '0');
  if (!URL.canParse(filled)) refuse('an absolute URL such as https://example.com/?click={click_id}');
  const url = new URL(filled);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    refuse('a URL that begins with https:// or http://');
  if (url.username !== '' || url.password !== '') refuse('a URL without a user name or password');
  const authority = /^[a-z]+:\/\/([^/?#]*)/i.exec(text)?.[1] ?? '';
  if (authority === '' || authority.includes('{')) refuse('a host without placeholders');
  return text;
}

/** What was probably meant: other systems' macros for our placeholders, HTML entities decoded. The same text if nothing is odd. */
function correctedTemplate(text: string): string {
  let meant = text;
  for (const macro of FOREIGN_MACROS) {
    meant = meant.replace(macro, (found, name: string) => {
      const known = NAMES.find((one) => one.replace('_', '') === name.toLowerCase().replace('_', ''));
      return known === undefined ? found : `{${known}}`;
    });
  }
  const entity = HTML_ENTITY.exec(meant);
  if (entity === null) return meant;
  const decoded: Readonly<Record<string, string>> = {
    amp: '&',
    lt: '%3C',
    gt: '%3E',
    quot: '%22',
    apos: "'",
  };
  return meant.replace(new RegExp(HTML_ENTITY, 'gi'), (_, name: string) => {
    const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number.parseInt(name.slice(1), 10);
    return decoded[name.toLowerCase()] ?? encodeURI(String.fromCodePoint(Math.min(code, 0x10ffff)));
  });
}
