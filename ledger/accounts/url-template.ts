import { TollwayError } from '../../common/errors.ts';

/** Longest template, in characters. */
const TEMPLATE_MAX = 2_000;
/** Characters of a template that an error quotes. */
const QUOTED_MAX = 200;
const NAMES = ['click_id', 'ad_id', 'campaign_id'] as const;
const PLACEHOLDER = /\{(click_id|ad_id|campaign_id)\}/g;

const NAME = '(click_?id|ad_?id|campaign_?id)';
/**
 * Placeholders in the style of another system, or with braces that were percent-encoded once or several times: `${name}`, `{{.name}}`,
 * `%%NAME%%`, `@@name@@`, `[name]`, `<name>`, `%name%`, `%7Bname%7D`, `%255Bname%255D`. The first group is the name. An index such as
 * `filter[ad_id]` does not match, because of the letters, digits or bracket before it.
 */
const FOREIGN_MACROS: readonly RegExp[] = [
  new RegExp(`(?:\\$|%(?:25)*24)?(?:\\{|%(?:25)*7b){1,2}\\s*\\.?${NAME}\\s*(?:\\}|%(?:25)*7d){1,2}`, 'gi'),
  new RegExp(`(?:%%|%25%25)${NAME}(?:%%|%25%25)`, 'gi'),
  new RegExp(`(?:@|%(?:25)*40){2}${NAME}(?:@|%(?:25)*40){2}`, 'gi'),
  new RegExp(`(?<![\\w\\]]|%5d)(?:\\[|%(?:25)*5b)${NAME}(?:\\]|%(?:25)*5d)`, 'gi'),
  new RegExp(`(?:<|%(?:25)*3c)${NAME}(?:>|%(?:25)*3e)`, 'gi'),
  new RegExp(`(?<![a-z0-9_])__${NAME}__`, 'gi'),
  // Not the percent sign of an encoded character, because the name follows it directly.
  new RegExp(`%${NAME}%`, 'gi'),
];
const HTML_ENTITY = /&(amp|lt|gt|quot|apos|#\d{1,6}|#x[\da-f]{1,5});/i;

/**
 * Validates the URL template of an ad: an absolute `http` or `https` URL without credentials, with no placeholders other than Tollway's, and
 * none in its host. Refuses a macro of another system, a percent-encoded brace and an HTML entity, and suggests a correction. Returns the
 * template unchanged. Throws `bad_url`.
 */
export function parseUrlTemplate(text: string): string {
  const refuse = (expected: string): never => {
    throw new TollwayError('bad_url', `Expected ${expected}, got "${text.slice(0, QUOTED_MAX)}"`);
  };
  if (text.length > TEMPLATE_MAX) refuse(`a URL of at most ${TEMPLATE_MAX} characters`);
  if (!/^[\x21-\x7e]*$/.test(text)) refuse('a URL in its encoded form, printable ASCII without spaces');
  if (text.includes('\\')) refuse('a URL with / and no \\ (browsers read \\ as /)');
  const corrected = correctedTemplate(text);
  if (corrected !== text) refuse(`a template such as ${corrected.slice(0, QUOTED_MAX)}`);
  const stray = text.replaceAll(PLACEHOLDER, '').match(/\{[^{}]*\}?|\}|%%\w+%%/);
  if (stray) refuse(`no placeholder but {click_id}, {ad_id} and {campaign_id} (found ${stray[0]})`);
  // Parsed with a value in place of each placeholder, because `URL` refuses braces in a scheme or a port.
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

/** The probably intended template: macros of other systems replaced by placeholders, HTML entities decoded. */
function correctedTemplate(text: string): string {
  let corrected = text;
  for (const macro of FOREIGN_MACROS) {
    corrected = corrected.replace(macro, (found, name: string) => {
      const placeholder = NAMES.find(
        (candidate) => candidate.replace('_', '') === name.toLowerCase().replace('_', ''),
      );
      return placeholder === undefined ? found : `{${placeholder}}`;
    });
  }
  const entity = HTML_ENTITY.exec(corrected);
  if (entity === null) return corrected;
  const decoded: Readonly<Record<string, string>> = {
    amp: '&',
    lt: '%3C',
    gt: '%3E',
    quot: '%22',
    apos: "'",
  };
  return corrected.replace(new RegExp(HTML_ENTITY, 'gi'), (_, name: string) => {
    const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number.parseInt(name.slice(1), 10);
    return decoded[name.toLowerCase()] ?? encodeURI(String.fromCodePoint(Math.min(code, 0x10ffff)));
  });
}
