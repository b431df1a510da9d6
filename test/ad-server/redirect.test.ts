import { describe, expect, it } from 'vitest';
import { isUuidV7, uuidV7TimeMs } from '../../common/uuid.ts';
import { evergreenLink, impressionLink } from '../../contract/link-token.ts';
import { DAY_MS } from '../support/link-samples.ts';
import { CHROME, counted, EVERGREEN_PATH, redirectBench, sampleAd, sign } from '../support/redirect-bench.ts';

describe('a click', () => {
  it('is answered only after it has been recorded', () => {
    const bench = redirectBench();
    bench.send();
    expect(bench.answers).toEqual([]);
    const click = bench.take();
    expect(bench.answers).toEqual([
      {
        is: 'redirect',
        clickId: click.clickId,
        location: `https://landing.example/?click=${click.clickId}&ad=42&campaign=7`,
      },
    ]);
  });

  it('is recorded with all fields that the handler needs, as of the time of the click', async () => {
    const bench = redirectBench();
    const before = Date.now();
    bench.send({
      headers: { 'user-agent': CHROME, referer: 'https://publisher.example/page?person=7' },
    });
    const after = Date.now();
    // The price changes before the spool answers. The price at the time of the click counts.
    bench.catalog.set(42, sampleAd({ priceMicros: 1 }));
    const click = bench.take();
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
    expect(await counted(bench.metrics.clicksAccepted, { kind: 'evergreen' })).toBe(1);
  });

  it('on an impression link has its nonce', async () => {
    const bench = redirectBench();
    const link = impressionLink(42, DAY_MS);
    bench.send({ url: `/c/${sign(link)}` });
    expect(bench.take()).toMatchObject({ nonce: link.nonce, invalid: null });
    expect(await counted(bench.metrics.clicksAccepted, { kind: 'impression' })).toBe(1);
  });

  it('gets a new id each time', () => {
    const bench = redirectBench({ doubleClickMs: 0 });
    const ids = Array.from({ length: 100 }, () => {
      bench.send();
      return bench.take().clickId;
    });
    expect(new Set(ids).size).toBe(100);
  });

  it('can have any query', () => {
    const bench = redirectBench();
    bench.send({ url: `${EVERGREEN_PATH}?utm_source=a&b=%00` });
    expect(bench.take().adId).toBe(42);
  });

  it('keeps at most 512 characters of a user agent', () => {
    const bench = redirectBench();
    bench.send({ headers: { 'user-agent': CHROME.padEnd(10_000, 'x') } });
    expect(bench.take().userAgent).toBe(CHROME.padEnd(512, 'x'));
  });

  it('can have no headers and no peer address', () => {
    const bench = redirectBench();
    bench.send({ headers: {}, peer: undefined });
    expect(bench.take()).toMatchObject({
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
        const bench = redirectBench({ proxies: '10.0.0.0/8' });
        bench.send(request);
        const { encoded } = bench.waiting[0] ?? { encoded: '' };
        expect(encoded).toContain('visitorNetwork');
        expect(encoded).not.toContain(address);
        expect(encoded).not.toContain('.77');
        expect(encoded).not.toContain(':6"');
        expect(bench.take().visitorNetwork).toMatch(/(\.0\/24|::\/48)$/);
      }
    }
  });
});

describe('a request that is not a click', () => {
  it('HEAD redirects and records nothing', () => {
    const bench = redirectBench();
    bench.send({ method: 'HEAD' });
    expect(bench.waiting).toEqual([]);
    expect(bench.answers).toEqual([
      { is: 'redirect', clickId: null, location: expect.stringMatching(/^https:\/\/landing\.example\//) },
    ]);
  });

  it('HEAD before a click does not make it a double click', () => {
    const bench = redirectBench();
    bench.send({ method: 'HEAD' });
    bench.send();
    expect(bench.take().invalid).toBeNull();
  });

  it.each([{ 'sec-purpose': 'prefetch;prerender' }, { purpose: 'prefetch' }, { 'x-moz': 'prefetch' }])(
    'a prefetch is sent away, so that the click itself comes: %o',
    (prefetch) => {
      const bench = redirectBench();
      bench.send({ headers: { 'user-agent': CHROME, ...prefetch } });
      bench.send({ method: 'HEAD', headers: { 'user-agent': CHROME, ...prefetch } });
      expect(bench.answers).toEqual([{ is: 'prefetch' }, { is: 'prefetch' }]);
      expect(bench.waiting).toEqual([]);
      bench.send();
      expect(bench.take().invalid).toBeNull();
    },
  );

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'get', ''])('%s is a wrong method', (method) => {
    const bench = redirectBench();
    bench.send({ method });
    expect(bench.answers).toEqual([{ is: 'wrong_method' }]);
    expect(bench.waiting).toEqual([]);
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
    const bench = redirectBench();
    bench.send({ url });
    expect(bench.answers).toEqual([{ is: 'not_found' }]);
    expect(bench.waiting).toEqual([]);
  });

  it('a valid link to an ad that is not in the catalog is counted and can be retried', async () => {
    const bench = redirectBench({ ad: undefined });
    bench.send();
    expect(bench.answers).toEqual([{ is: 'unknown_ad' }]);
    expect(bench.waiting).toEqual([]);
    expect(await counted(bench.metrics.unknownAds)).toBe(1);
    bench.catalog.set(42, sampleAd());
    bench.send();
    expect(bench.take().invalid).toBeNull();
  });
});

describe('a spool that refuses clicks', () => {
  it('leads to a redirect without a click id, which is counted', async () => {
    const bench = redirectBench({ whenFull: 'redirect' });
    bench.send();
    bench.refuse();
    expect(bench.answers).toEqual([
      { is: 'redirect', clickId: null, location: expect.stringContaining('https://landing.example/') },
    ]);
    expect(await counted(bench.metrics.clicksUnrecorded)).toBe(1);
    expect(await counted(bench.metrics.clicksAccepted, { kind: 'evergreen' })).toBe(0);
  });

  it('leads to a refusal with SPOOL_FULL=refuse', async () => {
    const bench = redirectBench({ whenFull: 'refuse' });
    bench.send();
    bench.refuse();
    expect(bench.answers).toEqual([{ is: 'refused' }]);
    expect(await counted(bench.metrics.clicksUnrecorded)).toBe(1);
  });

  it('does not store a first click, so that the next attempt is not a double click', () => {
    const bench = redirectBench({ doubleClickMs: 60_000 });
    bench.send();
    bench.refuse();
    bench.send();
    expect(bench.take().invalid).toBeNull();
  });

  it('keeps the first click when it refuses the second one', () => {
    const bench = redirectBench({ doubleClickMs: 60_000 });
    bench.send();
    bench.take();
    bench.send();
    bench.refuse();
    bench.send();
    expect(bench.take().invalid).toBe('double_click');
  });
});

describe('a destination', () => {
  it('without placeholders is sent unchanged', () => {
    const bench = redirectBench({
      ad: sampleAd({ urlTemplate: 'https://landing.example/a?b=%7Bclick_id%7D' }),
    });
    bench.send();
    bench.take();
    expect(bench.answers[0]).toMatchObject({ location: 'https://landing.example/a?b=%7Bclick_id%7D' });
  });

  it('has every occurrence of a placeholder replaced', () => {
    const urlTemplate = 'https://landing.example/{ad_id}/{ad_id}/{click_id}#{click_id}{campaign_id}';
    const bench = redirectBench({ ad: sampleAd({ urlTemplate }) });
    bench.send();
    const { clickId } = bench.take();
    expect(bench.answers[0]).toMatchObject({
      location: `https://landing.example/42/42/${clickId}#${clickId}7`,
    });
  });

  it('is the one of the ad in the link', () => {
    const bench = redirectBench();
    bench.catalog.set(43, sampleAd({ id: 43, urlTemplate: 'https://other.example/' }));
    bench.send({ url: `/c/${sign(evergreenLink(43))}` });
    expect(bench.take().adId).toBe(43);
    expect(bench.answers[0]).toMatchObject({ location: 'https://other.example/' });
  });
});
