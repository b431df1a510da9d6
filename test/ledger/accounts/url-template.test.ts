import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { destinationOf } from '../../../ad-server/redirect/destination.ts';
import { uuidV7 } from '../../../common/uuid.ts';
import type { CatalogAd } from '../../../ledger/accounts/catalog-ads.ts';
import { parseUrlTemplate } from '../../../ledger/accounts/url-template.ts';
import { sampleAd } from '../../support/redirect-fixture.ts';

function filled(ad: CatalogAd, clickId: string): string {
  const location = destinationOf(ad, clickId, false, null);
  if (location === null) throw new Error('Expected a URL that can stand in a header');
  return location;
}

describe('a destination', () => {
  it.each([
    'https://example.com',
    'http://example.com/',
    'HTTPS://Example.com/Path',
    'https://example.com:8443/a?b=c#d',
    'https://example.com/?click={click_id}&ad={ad_id}&campaign={campaign_id}',
    'https://example.com/{campaign_id}/{ad_id}#{click_id}',
    'https://[2001:db8::1]/',
    'https://xn--bcher-kva.example/',
    'https://example.com/?next=https%3A%2F%2Fother.example%2F%40',
  ])('can be %s, and is stored unchanged', (text) => {
    expect(parseUrlTemplate(text)).toBe(text);
  });

  it.each([
    ['javascript', 'javascript:alert(1)'],
    ['javascript that looks like a host', 'javascript://example.com/%0aalert(1)'],
    ['data', 'data:text/html,hello'],
    ['a file', 'file:///etc/passwd'],
    ['ftp', 'ftp://example.com/'],
    ['nothing', ''],
    ['no scheme', 'example.com/?click={click_id}'],
    ['no scheme but slashes', '//example.com/'],
    ['a path', '/landing'],
    ['a scheme alone', 'https://'],
    ['a scheme without slashes', 'https:example.com'],
    ['slashes without a host', 'https:///example.com/'],
    ['backslashes', 'https:\\\\example.com\\'],
    ['a user name', 'https://user@example.com/'],
    ['a user name and a password', 'https://user:secret@example.com/'],
    ['an unknown placeholder', 'https://example.com/?u={user_id}'],
    ['a placeholder in other letters', 'https://example.com/?c={CLICK_ID}'],
    ['an open brace', 'https://example.com/?c={click_id'],
    ['a brace in a brace', 'https://example.com/?c={{click_id}}x{'],
    ['a placeholder in the host', 'https://{ad_id}.example.com/'],
    ['a placeholder for the host', 'https://{click_id}/'],
    ['a placeholder for the port', 'https://example.com:{ad_id}/'],
    ['a placeholder for the user', 'https://{ad_id}@example.com/'],
    ['a placeholder for the scheme', '{click_id}://example.com/'],
    ['a space', 'https://example.com/a b'],
    ['a space before it', ' https://example.com/'],
    ['a line end before it', '\nhttps://example.com/'],
    ['a line end behind it', 'https://example.com/\n'],
    ['another header', 'https://example.com/\r\nSet-Cookie: a=b'],
    ['a tab', 'https://example.com/\ta'],
    ['a NUL', 'https://example.com/\0'],
    ['an umlaut', 'https://example.com/bücher'],
    ['an umlaut in the host', 'https://bücher.example/'],
    ['a line separator', 'https://example.com/\u2028'],
    ['a lone surrogate', 'https://example.com/\ud800'],
    ["another system's macro without a counterpart", 'https://example.com/?s=%%SITE%%'],
    ['a closing brace', 'https://example.com/?c=click_id}'],
    ['a closing brace behind a placeholder', 'https://example.com/?c={click_id}}'],
    ['a backslash in its path', 'https://example.com/a\\b'],
    ['a control character in its query', 'https://example.com/?a=\x1b[31m'],
    ['2 001 characters', `https://example.com/${'a'.repeat(1_981)}`],
  ])('cannot be %s', (_, text) => {
    expect(() => parseUrlTemplate(text)).toThrow(expect.objectContaining({ code: 'bad_url' }));
  });

  it('can have 2 000 characters', () => {
    expect(parseUrlTemplate(`https://example.com/${'a'.repeat(1_980)}`)).toHaveLength(2_000);
  });

  it.each([
    ['https://example.com/?c=%7Bclick_id%7D', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c=%7bclick_id%7d&a=1', 'https://example.com/?c={click_id}&a=1'],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the macro syntax of another system
    ['https://example.com/?c=${click_id}', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c={{click_id}}', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c={{ .ClickID }}', null],
    ['https://example.com/?c={{.ClickID}}', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c=%%CLICK_ID%%', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c=@@click_id@@', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c=%40%40CLICK_ID%40%40', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c=%CLICK_ID%', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c=[click_id]&a=[AD_ID]', 'https://example.com/?c={click_id}&a={ad_id}'],
    ['https://example.com/?c=<campaignid>', 'https://example.com/?c={campaign_id}'],
    ['https://example.com/?c=%257Bclick_id%257D', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c=%24%7Bclick_id%7D', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c=%7B%7Bclick_id%7D%7D', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c={click_id%7D', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c=%5Bclick_id%5D', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c=%25%25CLICK_ID%25%25', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c={CLICK_ID}', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c={clickid}', 'https://example.com/?c={click_id}'],
    ['https://example.com/?c=__CLICK_ID__', 'https://example.com/?c={click_id}'],
    ['https://example.com/?a=1&amp;c={click_id}', 'https://example.com/?a=1&c={click_id}'],
    ['https://example.com/?a=1&#38;c={click_id}', 'https://example.com/?a=1&c={click_id}'],
    ['https://example.com/?a=1&#x26;c={click_id}', 'https://example.com/?a=1&c={click_id}'],
  ])('%s is refused with a correction', (text, meant) => {
    const suggestion = meant === null ? '' : `Expected a template such as ${meant}, got "`;
    expect(() => parseUrlTemplate(text)).toThrow(
      expect.objectContaining({ code: 'bad_url', message: expect.stringContaining(suggestion) }),
    );
  });

  it.each([
    'https://example.com/?tag[]=a&tag[b]=c',
    'https://example.com/?q=__init__',
    'https://example.com/?filter[ad_id]=7&p[a][click_id]={click_id}',
    'https://example.com/?filter%5Bad_id%5D=7&a%5Bb%5D%5Bclick_id%5D={click_id}',
    'https://example.com/?q=%20ad_id%20',
    'https://example.com/#{click_id}',
    'https://example.com/?q=100%25&c={click_id}',
    'https://example.com/?a=1&amp=2',
    'https://example.com/?next=%7B%22a%22%3A1%7D',
  ])('%s is accepted', (text) => {
    expect(parseUrlTemplate(text)).toBe(text);
  });

  it('is refused with what was expected and the beginning of what came', () => {
    expect(() => parseUrlTemplate('ftp://example.com/')).toThrow(
      'Expected a URL that begins with https:// or http://, got "ftp://example.com/"',
    );
    const long = `https://example.com/${'a'.repeat(100_000)}`;
    expect(() => parseUrlTemplate(long)).toThrow(/^.{1,400}$/);
  });

  it('that is accepted keeps its host and http or https with any values of the placeholders', () => {
    const pieces = fc.constantFrom(
      ...[
        'https:',
        'http:',
        'javascript:',
        '//',
        '/',
        '\\',
        '@',
        ':',
        'user',
        'good.example',
        'evil.example',
      ],
      ...[
        '{click_id}',
        '{ad_id}',
        '{campaign_id}',
        '{x}',
        '?',
        '#',
        '.',
        '%0d%0a',
        '\r\n',
        ' ',
        '[::1]',
        '443',
      ],
    );
    const texts = fc.oneof(
      fc.array(pieces, { maxLength: 8 }).map((parts) => parts.join('')),
      fc.array(pieces, { maxLength: 6 }).map((parts) => `https://good.example${parts.join('')}`),
      fc.webUrl({ withFragments: true, withQueryParameters: true }),
    );
    let taken = 0;
    fc.assert(
      fc.property(texts, fc.integer({ min: 1 }), (text, id) => {
        let template: string;
        try {
          template = parseUrlTemplate(text);
        } catch (error) {
          expect(error).toMatchObject({ code: 'bad_url' });
          return;
        }
        taken += 1;
        const location = filled(sampleAd({ urlTemplate: template, id, campaignId: id }), uuidV7());
        expect(location).toMatch(/^https?:\/\/[\x21-\x7e]+$/i);
        const [one, other] = [
          new URL(location),
          new URL(filled(sampleAd({ urlTemplate: template, id: 1, campaignId: 2 }), uuidV7())),
        ];
        expect([one.protocol, one.host, one.username]).toEqual([other.protocol, other.host, '']);
      }),
      { numRuns: 3_000 },
    );
    expect(taken).toBeGreaterThan(300);
  });
});
