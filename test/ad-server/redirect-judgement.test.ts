import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { impressionLink } from '../../contract/link-token.ts';
import { DAY_MS, nonceAt } from '../support/link-samples.ts';
import { CHROME, EVERGREEN_PATH, redirectFixture, sampleAd, sign } from '../support/redirect-fixture.ts';

const BOT = 'Twitterbot/1.0';

describe('an invalid click is recorded with its reason and still redirected', () => {
  it('bot', () => {
    const fixture = redirectFixture();
    fixture.send({ headers: { 'user-agent': BOT } });
    expect(fixture.take().invalid).toBe('bot');
    expect(fixture.answers[0]).toMatchObject({
      is: 'redirect',
      location: expect.stringContaining('landing'),
    });
  });

  it('expired, from the expiry time of the link', () => {
    const expiresAt = Date.UTC(2026, 0, 1);
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const fixture = redirectFixture({ doubleClickMs: 0 });
    const url = `/c/${sign({ adId: 42, publisher: null, nonce: nonceAt(expiresAt - DAY_MS), expiresAt })}`;
    vi.setSystemTime(expiresAt - 1);
    fixture.send({ url });
    expect(fixture.take().invalid).toBeNull();
    vi.setSystemTime(expiresAt);
    fixture.send({ url });
    expect(fixture.take().invalid).toBe('expired');
    expect(fixture.answers).toHaveLength(2);
  });

  it('expired, after the maximum life, even if the link has a later expiry time', () => {
    const fixture = redirectFixture();
    const nowMs = Date.now();
    const old = { adId: 42, publisher: null, nonce: nonceAt(nowMs - 91 * DAY_MS), expiresAt: nowMs + DAY_MS };
    fixture.send({ url: `/c/${sign(old)}` });
    expect(fixture.take().invalid).toBe('expired');
  });

  it.each([
    [null, 'https://ad.example/'],
    [Number.MAX_SAFE_INTEGER, 'https://fallback.example/'],
  ])('paused, and redirected as an active ad that is exhausted until %s', (exhaustedUntil, location) => {
    const urls = { urlTemplate: 'https://ad.example/', fallbackUrl: 'https://fallback.example/' };
    const fixture = redirectFixture({ ad: sampleAd({ paused: true, exhaustedUntil, ...urls }) });
    fixture.send();
    expect(fixture.take().invalid).toBe('paused');
    expect(fixture.answers).toMatchObject([{ location }]);
  });

  it('paused', () => {
    const fixture = redirectFixture({ ad: sampleAd({ paused: true }) });
    fixture.send();
    expect(fixture.take()).toMatchObject({ invalid: 'paused', budgetExhausted: false });
    expect(fixture.answers[0]).toMatchObject({ is: 'redirect' });
  });

  it('not_running: before the start of the campaign and from its end on, and redirects', () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const [startsAt, endsAt] = [Date.UTC(2026, 10, 2), Date.UTC(2026, 11, 1)];
    const fixture = redirectFixture({ ad: sampleAd({ startsAt, endsAt }), doubleClickMs: 0 });
    const judgements = [startsAt - 1, startsAt, endsAt - 1, endsAt].map((nowMs) => {
      vi.setSystemTime(nowMs);
      fixture.send();
      return fixture.take().invalid;
    });
    expect(judgements).toEqual(['not_running', null, null, 'not_running']);
    expect(fixture.answers.map(({ is }) => is)).toEqual(Array.from({ length: 4 }, () => 'redirect'));
  });

  it('double_click: the same visitor, agent and link within the window', () => {
    const fixture = redirectFixture({ doubleClickMs: 60_000 });
    fixture.send();
    fixture.send();
    expect([fixture.take().invalid, fixture.take().invalid]).toEqual([null, 'double_click']);
    fixture.send({ peer: '198.51.100.78' });
    expect(fixture.take().invalid).toBeNull();
    fixture.send({ headers: { 'user-agent': `${CHROME} Edg/140` } });
    expect(fixture.take().invalid).toBeNull();
    fixture.send({ url: `/c/${sign(impressionLink(42, DAY_MS))}` });
    expect(fixture.take().invalid).toBeNull();
    expect(fixture.answers).toHaveLength(5);
  });

  it('double_click, even if the clock was set back or forward between the clicks', () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const fixture = redirectFixture({ doubleClickMs: 60_000 });
    const nowMs = Date.now();
    for (const stepMs of [0, -10_800_000, 10_800_000]) {
      vi.setSystemTime(nowMs + stepMs);
      fixture.send();
    }
    expect([fixture.take().invalid, fixture.take().invalid, fixture.take().invalid]).toEqual([
      null,
      'double_click',
      'double_click',
    ]);
  });

  it('double_click, even if the link has another query', () => {
    const fixture = redirectFixture({ doubleClickMs: 60_000 });
    fixture.send();
    fixture.send({ url: `${EVERGREEN_PATH}?again` });
    expect([fixture.take().invalid, fixture.take().invalid]).toEqual([null, 'double_click']);
  });

  it('but an invalid click is not the first one of a double click', () => {
    const fixture = redirectFixture({ doubleClickMs: 60_000, ad: sampleAd({ paused: true }) });
    fixture.send();
    expect(fixture.take().invalid).toBe('paused');
    fixture.catalog.set(42, sampleAd());
    fixture.send();
    expect(fixture.take().invalid).toBeNull();
  });
});

describe('a click on an ad whose budget is exhausted', () => {
  it('is recorded with the flag', () => {
    const fixture = redirectFixture({ ad: sampleAd({ exhaustedUntil: Number.MAX_SAFE_INTEGER }) });
    fixture.send();
    expect(fixture.take()).toMatchObject({ budgetExhausted: true, invalid: null });
    expect(fixture.answers[0]).toMatchObject({
      location: expect.stringContaining('https://landing.example/'),
    });
  });

  it('is redirected to the fallback URL of the campaign, with its placeholders replaced', () => {
    const fallbackUrl = 'https://fallback.example/{campaign_id}?c={click_id}';
    const fixture = redirectFixture({
      ad: sampleAd({ exhaustedUntil: Number.MAX_SAFE_INTEGER, fallbackUrl }),
    });
    fixture.send();
    const { clickId } = fixture.take();
    expect(fixture.answers[0]).toMatchObject({ location: `https://fallback.example/7?c=${clickId}` });
  });

  it.each([
    ['https://fallback.example/', true],
    [null, undefined],
  ])(
    'is marked as held while its campaign is ahead of its plan, if it goes to the fallback URL %s',
    (fallbackUrl, held) => {
      const fixture = redirectFixture({
        ad: sampleAd({ exhaustedUntil: Number.MAX_SAFE_INTEGER, held: true, fallbackUrl }),
      });
      fixture.send();
      expect(fixture.take().held).toBe(held);
    },
  );

  it('is not held any more when the plan has caught up, by the clock alone', () => {
    const ad = sampleAd({
      exhaustedUntil: Date.now() - 1,
      held: true,
      fallbackUrl: 'https://fallback.example/',
    });
    const fixture = redirectFixture({ ad });
    fixture.send();
    expect(fixture.take()).toMatchObject({ budgetExhausted: false });
    expect(fixture.answers[0]).toMatchObject({
      location: expect.stringContaining('https://landing.example/'),
    });
  });

  it('is redirected to the ad’s own URL again when its day is over, by the clock alone', () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const exhaustedUntil = Date.parse('2026-01-31T23:00:00Z');
    const fixture = redirectFixture({
      ad: sampleAd({ exhaustedUntil, fallbackUrl: 'https://fallback.example/' }),
    });
    for (const sinceMs of [-1, 0]) {
      vi.setSystemTime(exhaustedUntil + sinceMs);
      fixture.send({ url: `/c/${sign(impressionLink(42, DAY_MS))}` });
    }
    expect([fixture.take(), fixture.take()]).toMatchObject([
      { budgetExhausted: true },
      { budgetExhausted: false },
    ]);
    expect(fixture.answers).toMatchObject([
      { location: 'https://fallback.example/' },
      { location: expect.stringContaining('https://landing.example/') },
    ]);
  });
});

it('a click on an ad with a fallback URL is redirected to the ad’s own URL while the budget lasts', () => {
  const fixture = redirectFixture({ ad: sampleAd({ fallbackUrl: 'https://fallback.example/' }) });
  fixture.send();
  fixture.take();
  expect(fixture.answers[0]).toMatchObject({ location: expect.stringContaining('https://landing.example/') });
});
