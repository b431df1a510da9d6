import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { impressionLink } from '../../contract/link-token.ts';
import { DAY_MS, nonceAt } from '../support/link-samples.ts';
import { CHROME, EVERGREEN_PATH, redirectBench, sampleAd, sign } from '../support/redirect-bench.ts';

const BOT = 'Twitterbot/1.0';

describe('an invalid click is recorded with its reason and still redirected', () => {
  it('bot', () => {
    const bench = redirectBench();
    bench.send({ headers: { 'user-agent': BOT } });
    expect(bench.take().invalid).toBe('bot');
    expect(bench.answers[0]).toMatchObject({ is: 'redirect', location: expect.stringContaining('landing') });
  });

  it('expired, from the expiry time of the link', () => {
    const expiresAt = Date.UTC(2026, 0, 1);
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const bench = redirectBench({ doubleClickMs: 0 });
    const url = `/c/${sign({ adId: 42, nonce: nonceAt(expiresAt - DAY_MS), expiresAt })}`;
    vi.setSystemTime(expiresAt - 1);
    bench.send({ url });
    expect(bench.take().invalid).toBeNull();
    vi.setSystemTime(expiresAt);
    bench.send({ url });
    expect(bench.take().invalid).toBe('expired');
    expect(bench.answers).toHaveLength(2);
  });

  it('expired, after the maximum life, even if the link has a later expiry time', () => {
    const bench = redirectBench();
    const nowMs = Date.now();
    const old = { adId: 42, nonce: nonceAt(nowMs - 91 * DAY_MS), expiresAt: nowMs + DAY_MS };
    bench.send({ url: `/c/${sign(old)}` });
    expect(bench.take().invalid).toBe('expired');
  });

  it('paused', () => {
    const bench = redirectBench({ ad: sampleAd({ paused: true }) });
    bench.send();
    expect(bench.take()).toMatchObject({ invalid: 'paused', budgetExhausted: false });
    expect(bench.answers[0]).toMatchObject({ is: 'redirect' });
  });

  it('double_click: the same visitor, agent and link within the window', () => {
    const bench = redirectBench({ doubleClickMs: 60_000 });
    bench.send();
    bench.send();
    expect([bench.take().invalid, bench.take().invalid]).toEqual([null, 'double_click']);
    bench.send({ peer: '198.51.100.78' });
    expect(bench.take().invalid).toBeNull();
    bench.send({ headers: { 'user-agent': `${CHROME} Edg/140` } });
    expect(bench.take().invalid).toBeNull();
    bench.send({ url: `/c/${sign(impressionLink(42, DAY_MS))}` });
    expect(bench.take().invalid).toBeNull();
    expect(bench.answers).toHaveLength(5);
  });

  it('double_click, even if the clock was set back or forward between the clicks', () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    onTestFinished(() => void vi.useRealTimers());
    const bench = redirectBench({ doubleClickMs: 60_000 });
    const nowMs = Date.now();
    for (const stepMs of [0, -10_800_000, 10_800_000]) {
      vi.setSystemTime(nowMs + stepMs);
      bench.send();
    }
    expect([bench.take().invalid, bench.take().invalid, bench.take().invalid]).toEqual([
      null,
      'double_click',
      'double_click',
    ]);
  });

  it('double_click, even if the link has another query', () => {
    const bench = redirectBench({ doubleClickMs: 60_000 });
    bench.send();
    bench.send({ url: `${EVERGREEN_PATH}?again` });
    expect([bench.take().invalid, bench.take().invalid]).toEqual([null, 'double_click']);
  });

  it('but an invalid click is not the first one of a double click', () => {
    const bench = redirectBench({ doubleClickMs: 60_000, ad: sampleAd({ paused: true }) });
    bench.send();
    expect(bench.take().invalid).toBe('paused');
    bench.catalog.set(42, sampleAd());
    bench.send();
    expect(bench.take().invalid).toBeNull();
  });
});

describe('a click on an ad whose budget is exhausted', () => {
  it('is recorded with the flag', () => {
    const bench = redirectBench({ ad: sampleAd({ budgetExhausted: true }) });
    bench.send();
    expect(bench.take()).toMatchObject({ budgetExhausted: true, invalid: null });
    expect(bench.answers[0]).toMatchObject({ location: expect.stringContaining('https://landing.example/') });
  });

  it('is redirected to the fallback URL of the campaign, with its placeholders replaced', () => {
    const fallbackUrl = 'https://fallback.example/{campaign_id}?c={click_id}';
    const bench = redirectBench({ ad: sampleAd({ budgetExhausted: true, fallbackUrl }) });
    bench.send();
    const { clickId } = bench.take();
    expect(bench.answers[0]).toMatchObject({ location: `https://fallback.example/7?c=${clickId}` });
  });

  it('is not redirected to the fallback URL while the budget-exhausted flag is off', () => {
    const bench = redirectBench({ ad: sampleAd({ fallbackUrl: 'https://fallback.example/' }) });
    bench.send();
    bench.take();
    expect(bench.answers[0]).toMatchObject({ location: expect.stringContaining('https://landing.example/') });
  });
});
