import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { addAccount, post } from './api.ts';
import { pageRun, skipped, testBrowser } from './browser.ts';

/** More than the six connections that a browser has to one server. */
const WINDOWS = 8;
/** Streams of one key that the console allows. */
const STREAMS_MAX = 10;

const stateOf = (page: Page, state: string) => page.locator(`[data-connection=${state}]`);

/** Hides or shows a window, as the tabs of a browser do. The windows of a browser without a screen are always shown. */
const hide = (page: Page, hidden: boolean) =>
  page.evaluate(
    `Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true });
     document.dispatchEvent(new Event('visibilitychange'));`,
  );

describe.skipIf(skipped)('many windows of the page', () => {
  const browser = testBrowser();

  it('of one browser work: hidden ones give up their live numbers, and get them again', async () => {
    const first = await browser.open('/');
    const windows = [first];
    while (windows.length < WINDOWS) {
      const before = windows.at(-1) ?? first;
      await stateOf(before, 'live').waitFor();
      await hide(before, true);
      // It keeps them while no other window is opened.
      expect(await stateOf(before, 'live').count()).toBe(1);
      const next = await first.context().newPage();
      await next.goto('/');
      windows.push(next);
    }
    await stateOf(windows.at(-1) ?? first, 'live').waitFor();
    await stateOf(first, 'connecting').waitFor();
    await hide(first, false);
    await stateOf(first, 'live').waitFor();
  });

  it('with one key say why they have no live numbers, until a stream is free', async () => {
    browser.allow(/^503 GET \/v1\/events$/);
    const { advertiserId } = await addAccount({ name: 'Shared key', budget: '1.00', price: '0.10' });
    const { key } = await post('/v1/keys', { role: 'viewer', name: 'Shared', advertiserIds: [advertiserId] });
    const closing = new AbortController();
    const streams = Array.from({ length: STREAMS_MAX }, () =>
      fetch(`${pageRun().stack.consoleUrl}/v1/events`, {
        headers: { authorization: `Bearer ${key}` },
        signal: closing.signal,
      }),
    );
    expect((await Promise.all(streams)).map(({ status }) => status)).toEqual(Array(STREAMS_MAX).fill(200));
    const page = await browser.open('/', { key });
    await stateOf(page, 'refused').waitFor();
    await page.getByText(`Expected at most ${STREAMS_MAX} streams of events of one key or session`).waitFor();
    await page.getByText(texts.connection.refused, { exact: true }).waitFor();
    expect(await page.getByText(texts.live.budgets.empty).count()).toBe(0);
    closing.abort();
    await stateOf(page, 'live').waitFor();
    expect(await page.getByText('Expected at most').count()).toBe(0);
  });
});
