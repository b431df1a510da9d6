import { describe, expect, it } from 'vitest';
import { isUuidV7, uuidV7TimeMs } from '../../common/uuid.ts';
import { evergreenLink, impressionLink } from '../../contract/link-token.ts';
import { DAY_MS } from '../support/link-samples.ts';
import {
  CHROME,
  counterValue,
  EVERGREEN_PATH,
  redirectFixture,
  sampleAd,
  sign,
} from '../support/redirect-fixture.ts';

describe('a click', () => {
  it('is answered only after it has been recorded', () => {
    const fixture = redirectFixture();
    fixture.send();
    expect(fixture.answers).toEqual([]);
    const click = fixture.take();
    expect(fixture.answers).toEqual([
      {
        is: 'redirect',
        clickId: click.clickId,
        location: `https://landing.example/?click=${click.clickId}&ad=42&campaign=7`,
      },
    ]);
  });

  it('is recorded with all fields that the handler needs, as of the time of the click', async () => {
    const fixture = redirectFixture();
    const before = Date.now();
    fixture.send({
      headers: { 'user-agent': CHROME, referer: 'https://publisher.example/page?person=7' },
    });
    const after = Date.now();
    // The price changes before the spool answers. The price at the time of the click counts.
    fixture.catalog.set(42, sampleAd({ priceMicros: 1 }));
    const click = fixture.take();
    expect(click).toMatchObject({
      nonce: null,
      adId: 42,
      campaignId: 7,
      advertiserId: 3,
      priceMicros: 250_000,
      invalid: null,
      budgetExhausted: false,
      visitorNetwork: '198.51.100.0/24',
      userAgent: CHROME,
      referrerHost: 'publisher.example',
    });
    expect(isUuidV7(click.clickId)).toBe(true);
    expect(click.clickedAt).toBe(uuidV7TimeMs(click.clickId));
    expect(click.clickedAt).toBeGreaterThanOrEqual(before);
    expect(click.clickedAt).toBeLessThanOrEqual(after);
    expect(await counterValue(fixture.metrics.clicksAccepted, { kind: 'evergreen' })).toBe(1);
  });

  it('on an impression link has its nonce', async () => {
    const fixture = redirectFixture();
    const link = impressionLink(42, DAY_MS);
    fixture.send({ url: `/c/${sign(link)}` });
    expect(fixture.take()).toMatchObject({ nonce: link.nonce, invalid: null });
    expect(await counterValue(fixture.metrics.clicksAccepted, { kind: 'impression' })).toBe(1);
  });

  it('on a link of a publisher has its publisher', () => {
    const fixture = redirectFixture({ doubleClickMs: 0 });
    fixture.send({ url: `/c/${sign(evergreenLink(42, 'example-news'))}` });
    expect(fixture.take()).toMatchObject({ adId: 42, publisher: 'example-news' });
    fixture.send({ url: `/c/${sign(impressionLink(42, DAY_MS, 'example-news'))}` });
    expect(fixture.take()).toMatchObject({ adId: 42, publisher: 'example-news', invalid: null });
  });

  it('with a query passes on what its ad allows, and has its sub-ids', () => {
    const ad = sampleAd({ urlTemplate: 'https://landing.example/', passParameters: ['utm_*'] });
    const fixture = redirectFixture({ ad });
    fixture.send({ url: `${EVERGREEN_PATH}?utm_source=a%26b&sub1=summer&gclid=1` });
    expect(fixture.take()).toMatchObject({ invalid: null, subIds: { sub1: 'summer' } });
    expect(fixture.answers).toMatchObject([{ location: 'https://landing.example/?utm_source=a%26b' }]);
  });

  it('passes nothing on to the fallback URL', () => {
    const fallback = { exhaustedUntil: Number.MAX_SAFE_INTEGER, fallbackUrl: 'https://fallback.example/' };
    const fixture = redirectFixture({ ad: sampleAd({ passParameters: ['utm_*'], ...fallback }) });
    fixture.send({ url: `${EVERGREEN_PATH}?utm_source=a&sub1=summer` });
    expect(fixture.take().subIds).toEqual({ sub1: 'summer' });
    expect(fixture.answers).toMatchObject([{ location: 'https://fallback.example/' }]);
  });

  it('passes parameters on to its own URL if the budget is exhausted and there is no fallback URL', () => {
    const ad = sampleAd({
      exhaustedUntil: Number.MAX_SAFE_INTEGER,
      passParameters: ['utm_*'],
      urlTemplate: 'https://a.example/',
    });
    const fixture = redirectFixture({ ad });
    fixture.send({ url: `${EVERGREEN_PATH}?utm_source=a` });
    fixture.take();
    expect(fixture.answers).toMatchObject([{ location: 'https://a.example/?utm_source=a' }]);
  });

  it('gets a new id each time', () => {
    const fixture = redirectFixture({ doubleClickMs: 0 });
    const ids = Array.from({ length: 100 }, () => {
      fixture.send();
      return fixture.take().clickId;
    });
    expect(new Set(ids).size).toBe(100);
  });

  it('can have any query', () => {
    const fixture = redirectFixture();
    fixture.send({ url: `${EVERGREEN_PATH}?utm_source=a&b=%00` });
    expect(fixture.take().adId).toBe(42);
  });

  it('keeps at most 512 characters of a user agent', () => {
    const fixture = redirectFixture();
    fixture.send({ headers: { 'user-agent': CHROME.padEnd(10_000, 'x') } });
    expect(fixture.take().userAgent).toBe(CHROME.padEnd(512, 'x'));
  });

  it('can have no headers and no peer address', () => {
    const fixture = redirectFixture();
    fixture.send({ headers: {}, peer: undefined });
    expect(fixture.take()).toMatchObject({
      visitorNetwork: null,
      userAgent: null,
      referrerHost: null,
      invalid: null,
    });
  });

  it('never contains the full address of its visitor, from the peer or from a header', () => {
    const addresses = ['198.51.100.77', '::ffff:198.51.100.77', '2001:db8:1:2:3:4:5:6', 'fe80::77%eth0'];
    for (const address of addresses) {
      for (const request of [
        { peer: address },
        { peer: '10.0.0.1', headers: { 'x-forwarded-for': address } },
      ]) {
        const fixture = redirectFixture({ proxies: '10.0.0.0/8' });
        fixture.send(request);
        const { encoded } = fixture.waiting[0] ?? { encoded: '' };
        expect(encoded).toContain('visitorNetwork');
        expect(encoded).not.toContain(address);
        expect(encoded).not.toContain('.77');
        expect(encoded).not.toContain(':6"');
        expect(fixture.take().visitorNetwork).toMatch(/(\.0\/24|::\/48)$/);
      }
    }
  });
});

describe('a request that is not a click', () => {
  it('HEAD redirects and records nothing', () => {
    const fixture = redirectFixture();
    fixture.send({ method: 'HEAD' });
    expect(fixture.waiting).toEqual([]);
    expect(fixture.answers).toEqual([
      { is: 'redirect', clickId: null, location: expect.stringMatching(/^https:\/\/landing\.example\//) },
    ]);
  });

  it('HEAD before a click does not make it a double click', () => {
    const fixture = redirectFixture();
    fixture.send({ method: 'HEAD' });
    fixture.send();
    expect(fixture.take().invalid).toBeNull();
  });

  it.each([{ 'sec-purpose': 'prefetch;prerender' }, { purpose: 'prefetch' }, { 'x-moz': 'prefetch' }])(
    'a prefetch gets 503 and is not recorded, and the click after it is valid: %o',
    (prefetch) => {
      const fixture = redirectFixture();
      fixture.send({ headers: { 'user-agent': CHROME, ...prefetch } });
      fixture.send({ method: 'HEAD', headers: { 'user-agent': CHROME, ...prefetch } });
      expect(fixture.answers).toEqual([{ is: 'prefetch' }, { is: 'prefetch' }]);
      expect(fixture.waiting).toEqual([]);
      fixture.send();
      expect(fixture.take().invalid).toBeNull();
    },
  );

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'get', ''])('%s is a wrong method', (method) => {
    const fixture = redirectFixture();
    fixture.send({ method });
    expect(fixture.answers).toEqual([{ is: 'wrong_method' }]);
    expect(fixture.waiting).toEqual([]);
  });

  it.each([
    '',
    '//',
    '/c',
    '/c/',
    '/C/x',
    '/c/x',
    '//c/x',
    '/c/../c/x',
    '/c/%00',
    '*',
    `/c/${'A'.repeat(10_000)}`,
  ])('a path without a valid link is not found: %s', (url) => {
    const fixture = redirectFixture();
    fixture.send({ url });
    expect(fixture.answers).toEqual([{ is: 'not_found' }]);
    expect(fixture.waiting).toEqual([]);
  });

  it('a valid link to an ad that is not in the catalog is counted and can be retried', async () => {
    const fixture = redirectFixture({ ad: undefined });
    fixture.send();
    expect(fixture.answers).toEqual([{ is: 'unknown_ad' }]);
    expect(fixture.waiting).toEqual([]);
    expect(await counterValue(fixture.metrics.unknownAds)).toBe(1);
    fixture.catalog.set(42, sampleAd());
    fixture.send();
    expect(fixture.take().invalid).toBeNull();
  });
});

describe('a spool that refuses clicks', () => {
  it('leads to a redirect without a click id, which is counted', async () => {
    const fixture = redirectFixture({ whenFull: 'redirect' });
    fixture.send();
    fixture.refuse();
    expect(fixture.answers).toEqual([
      { is: 'redirect', clickId: null, location: expect.stringContaining('https://landing.example/') },
    ]);
    expect(await counterValue(fixture.metrics.clicksUnrecorded)).toBe(1);
    expect(await counterValue(fixture.metrics.clicksAccepted, { kind: 'evergreen' })).toBe(0);
  });

  it('leads to a refusal with SPOOL_FULL=refuse', async () => {
    const fixture = redirectFixture({ whenFull: 'refuse' });
    fixture.send();
    fixture.refuse();
    expect(fixture.answers).toEqual([{ is: 'refused' }]);
    expect(await counterValue(fixture.metrics.clicksUnrecorded)).toBe(1);
  });

  it('does not store a first click, so that the next attempt is not a double click', () => {
    const fixture = redirectFixture({ doubleClickMs: 60_000 });
    fixture.send();
    fixture.refuse();
    fixture.send();
    expect(fixture.take().invalid).toBeNull();
  });

  it('keeps the first click when it refuses the second one', () => {
    const fixture = redirectFixture({ doubleClickMs: 60_000 });
    fixture.send();
    fixture.take();
    fixture.send();
    fixture.refuse();
    fixture.send();
    expect(fixture.take().invalid).toBe('double_click');
  });
});

describe('a destination', () => {
  it('without placeholders is sent unchanged', () => {
    const fixture = redirectFixture({
      ad: sampleAd({ urlTemplate: 'https://landing.example/a?b=%7Bclick_id%7D' }),
    });
    fixture.send();
    fixture.take();
    expect(fixture.answers[0]).toMatchObject({ location: 'https://landing.example/a?b=%7Bclick_id%7D' });
  });

  it('has every occurrence of a placeholder replaced', () => {
    const urlTemplate = 'https://landing.example/{ad_id}/{ad_id}/{click_id}#{click_id}{campaign_id}';
    const fixture = redirectFixture({ ad: sampleAd({ urlTemplate }) });
    fixture.send();
    const { clickId } = fixture.take();
    expect(fixture.answers[0]).toMatchObject({
      location: `https://landing.example/42/42/${clickId}#${clickId}7`,
    });
  });

  it('is the one of the ad in the link', () => {
    const fixture = redirectFixture();
    fixture.catalog.set(43, sampleAd({ id: 43, urlTemplate: 'https://other.example/' }));
    fixture.send({ url: `/c/${sign(evergreenLink(43))}` });
    expect(fixture.take().adId).toBe(43);
    expect(fixture.answers[0]).toMatchObject({ location: 'https://other.example/' });
  });
});
