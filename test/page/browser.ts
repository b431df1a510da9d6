import { join } from 'node:path';
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Page,
} from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, inject } from 'vitest';
import { chromiumIsMissing } from '../support/chromium.ts';
import type { PageRun } from '../support/setup-page.ts';
import { isSkipped } from '../support/skipped.ts';
import { BROWSER } from '../support/stack.ts';

/** Whether the suites of the page are skipped: without a Chromium. */
export const skipped = isSkipped(chromiumIsMissing());

/** Longest wait for something that the page is to show, in ms. */
const SHOWN_MS_MAX = 30_000;

/** The stack and the browser of the run. Throws what is missing. */
export function pageRun(): PageRun {
  const run = inject('pageRun');
  if (run === null)
    throw new Error(chromiumIsMissing() ?? 'Expected the project page to have started a stack');
  return run;
}

type OpenOptions = Pick<BrowserContextOptions, 'colorScheme' | 'viewport'> & {
  /** Text of the API key that the browser is logged in with; `null`: not logged in. By default an administrator's. */
  readonly key?: string | null;
  readonly consoleUrl?: string;
};

/** The browser for the suite that calls it, at the top of its file or of a `describe`. */
export type TestBrowser = {
  /**
   * Opens a window of a browser of its own, without cookies of others, until the test has ended. The test fails if the window logs an error
   * or a request fails, except for what `allow` names.
   */
  readonly open: (path: string, options?: OpenOptions) => Promise<Page>;
  /** Failures that the test causes, such as `401 GET /v1/session`. */
  readonly allow: (failure: RegExp) => void;
};

export function testBrowser(): TestBrowser {
  let browser: Browser;
  const contexts: BrowserContext[] = [];
  const allowed: RegExp[] = [];
  const faults: string[] = [];
  beforeAll(async () => {
    browser = await chromium.connect(pageRun().browserUrl);
  });
  afterAll(() => browser?.close());
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await keepPictures(contexts, task.name);
    await Promise.all(contexts.splice(0).map((context) => context.close()));
    const expected = allowed.splice(0);
    const found = faults.splice(0).filter((fault) => !expected.some((one) => one.test(fault)));
    expect(found, 'errors in the console of the browser, and failed requests').toEqual([]);
  });
  const open = async (path: string, options: OpenOptions = {}) => {
    const { stack } = pageRun();
    const { key = stack.adminKey, consoleUrl = stack.consoleUrl, ...rest } = options;
    const context = await browser.newContext({
      ...{ baseURL: consoleUrl, locale: 'en-US', timezoneId: 'UTC', viewport: { width: 1440, height: 900 } },
      // Links count the clicks of a headless browser as those of a bot.
      userAgent: BROWSER,
      ...rest,
    });
    contexts.push(context);
    context.setDefaultTimeout(SHOWN_MS_MAX);
    if (key !== null) await context.request.post('/v1/session', { data: { key }, failOnStatusCode: true });
    const page = await context.newPage();
    watch(page, faults);
    await page.goto(path);
    return page;
  };
  return { open, allow: (failure) => allowed.push(failure) };
}

/** Keeps a picture of each window of a test that has failed. */
async function keepPictures(contexts: readonly BrowserContext[], test: string): Promise<void> {
  const pages = contexts.flatMap((context) => context.pages());
  for (const [index, page] of pages.entries()) {
    const name = `failed-${test.replace(/\W+/g, '-')}-${index + 1}.png`;
    await page.screenshot({ path: join(pageRun().screenshotFolder, name) }).catch(() => {});
  }
}

/** Collects what goes wrong in a window. */
function watch(page: Page, faults: string[]): void {
  const pathOf = (url: string) => new URL(url).pathname;
  page.on('pageerror', (error) => faults.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('console', (message) => {
    // The answer says which request it was.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      faults.push(`console: ${message.text()}`);
  });
  page.on('response', (response) => {
    if (response.status() >= 400)
      faults.push(`${response.status()} ${response.request().method()} ${pathOf(response.url())}`);
  });
  page.on('requestfailed', (request) => {
    const { errorText = '' } = request.failure() ?? {};
    // The page itself stops what it no longer needs, such as the events of the view before.
    if (errorText !== 'net::ERR_ABORTED')
      faults.push(`${errorText} ${request.method()} ${pathOf(request.url())}`);
  });
}
