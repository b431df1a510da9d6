import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { DoubleClicks } from '../../ad-server/redirect/double-clicks.ts';
import { createAgentJudge, isPrefetch } from '../../ad-server/redirect/invalid-traffic.ts';

const { judge: judgeAgent } = createAgentJudge();

const CHROME =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';

describe('a bot', () => {
  it.each([
    'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
    'Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)',
    'facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)',
    'Twitterbot/1.0',
    'Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)',
    'WhatsApp/2.23.20.0',
    'curl/8.9.1',
    'python-requests/2.32.3',
    'Go-http-client/1.1',
    'HeadlessChrome/140.0.0.0',
  ])('is %s, also the second time', (userAgent) => {
    expect(judgeAgent(userAgent).isBot).toBe(true);
    expect(judgeAgent(userAgent).isBot).toBe(true);
  });

  it.each([
    CHROME,
    'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1',
    'Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0',
  ])('is not %s', (userAgent) => {
    expect(judgeAgent(userAgent).isBot).toBe(false);
    expect(judgeAgent(userAgent).isBot).toBe(false);
  });

  it('keeps its number while other user agents click, so that its second click is recognized', () => {
    const { number } = judgeAgent(CHROME);
    for (let count = 0; count < 50; count += 1) {
      for (let other = 0; other < 1_900; other += 1) judgeAgent(`${CHROME} ${count} ${other}`);
      expect(judgeAgent(CHROME).number).toBe(number);
    }
  });

  it('is recognized after any number of other user agents', () => {
    for (let count = 0; count < 10_000; count += 1) judgeAgent(`${CHROME} ${count}`);
    expect(judgeAgent(CHROME).isBot).toBe(false);
    expect(judgeAgent('Twitterbot/1.0').isBot).toBe(true);
  });
});

describe('a prefetch', () => {
  it.each([
    ['Chrome, Firefox and Edge', { 'sec-purpose': 'prefetch' }],
    ['Chrome that prerenders', { 'sec-purpose': 'prefetch;prerender' }],
    ['Chrome behind its private proxy', { 'sec-purpose': 'prefetch;anonymous-client-ip' }],
    ['older Chrome and Safari', { purpose: 'prefetch' }],
    ['Safari that makes a preview', { 'x-purpose': 'preview' }],
    ['older Firefox', { 'x-moz': 'prefetch' }],
    ['any, in other letters', { 'sec-purpose': 'Prefetch' }],
  ])('of %s is recognized', (_, headers) => {
    expect(isPrefetch(headers)).toBe(true);
  });

  it.each([
    ['no such header', {}],
    ['another purpose', { 'sec-purpose': 'navigate', purpose: '' }],
    ['the word elsewhere', { 'sec-fetch-mode': 'prefetch', 'user-agent': 'prefetch' }],
  ])('is not a request with %s', (_, headers) => {
    expect(isPrefetch(headers)).toBe(false);
  });
});

describe('a double click', () => {
  it('is the same link by the same visitor within the window', () => {
    const clicks = new DoubleClicks(1_000);
    expect(clicks.isSecond('visitor', 'link', 0)).toBe(false);
    expect(clicks.isSecond('visitor', 'link', 1)).toBe(true);
    expect(clicks.isSecond('visitor', 'link', 999)).toBe(true);
    expect(clicks.isSecond('visitor', 'link', 1_000)).toBe(false);
  });

  it('is neither another link nor another visitor', () => {
    const clicks = new DoubleClicks(1_000);
    clicks.isSecond('visitor', 'link', 0);
    expect(clicks.isSecond('visitor', 'other', 1)).toBe(false);
    expect(clicks.isSecond('other', 'link', 1)).toBe(false);
  });

  it('has a window from the click that counts: a visitor who keeps clicking counts once per window', () => {
    const clicks = new DoubleClicks(1_000);
    const counted = Array.from({ length: 50 }, (_, index) => index * 100).filter(
      (nowMs) => !clicks.isSecond('visitor', 'link', nowMs),
    );
    expect(counted).toEqual([0, 1_000, 2_000, 3_000, 4_000]);
  });

  it('does not exist with a window of 0', () => {
    const clicks = new DoubleClicks(0);
    expect(clicks.isSecond('visitor', 'link', 0)).toBe(false);
    expect(clicks.isSecond('visitor', 'link', 0)).toBe(false);
  });

  it('is removed: the next click is then a first one', () => {
    const clicks = new DoubleClicks(1_000);
    clicks.isSecond('visitor', 'link', 0);
    clicks.forget('visitor', 'link');
    expect(clicks.isSecond('visitor', 'link', 1)).toBe(false);
    expect(clicks.isSecond('visitor', 'link', 2)).toBe(true);
  });

  it('is found again after a clock that ran ahead was set back', () => {
    const clicks = new DoubleClicks(1_000);
    const hourMs = 3_600_000;
    clicks.isSecond('visitor', 'link', hourMs);
    expect(clicks.isSecond('visitor', 'link', 0)).toBe(false);
    expect(clicks.isSecond('visitor', 'link', 1)).toBe(true);
  });

  it('is found in either order of its clicks, with any other times between them', () => {
    const clicks = new DoubleClicks(1_000);
    const seconds = [
      ['one', 2_000],
      ['two', 1_000],
      ['three', 2_000],
      ['four', 1_000],
      ['one', 2_000],
      ['two', 1_999],
      ['three', 1_001],
      ['four', 2_000],
    ] as const;
    expect(seconds.map(([visitor, atMs]) => clicks.isSecond(visitor, 'link', atMs))).toEqual([
      false,
      false,
      false,
      false,
      true,
      true,
      true,
      false,
    ]);
  });

  it('is found after many clicks of an earlier time', () => {
    const clicks = new DoubleClicks(1_000);
    clicks.isSecond('visitor', 'link', 10_000);
    for (let count = 0; count < 10; count += 1) {
      clicks.isSecond(`before ${count}`, 'link', 9_000);
      clicks.isSecond(`after ${count}`, 'link', 10_000);
    }
    expect(clicks.isSecond('visitor', 'link', 10_500)).toBe(true);
  });

  it('is found for at least the latest fifty thousand clicks of a window, but not for ever', () => {
    const clicks = new DoubleClicks(60_000);
    for (let count = 0; count < 150_000; count += 1) clicks.isSecond(`visitor ${count}`, 'link', 0);
    for (let count = 149_999; count >= 100_000; count -= 1) {
      if (!clicks.isSecond(`visitor ${count}`, 'link', 1)) throw new Error(`Forgot visitor ${count}`);
    }
    expect(clicks.isSecond('visitor 0', 'link', 1)).toBe(false);
  });

  it('takes a bounded amount of memory: below 30 MB for 300 000 visitors in one window', () => {
    const clicks = new DoubleClicks(60_000);
    const before = heapBytes();
    for (let count = 0; count < 300_000; count += 1) clicks.isSecond(`visitor ${count}`, 'link', 0);
    expect(heapBytes() - before).toBeLessThan(30e6);
    expect(clicks.isSecond('visitor 299999', 'link', 1)).toBe(true);
  });
});

/** Bytes on the heap after a garbage collection. */
function heapBytes(): number {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  collect();
  return process.memoryUsage().heapUsed;
}
