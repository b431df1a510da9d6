import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { descendants, stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { skipped, testBrowser } from './browser.ts';

const { waiting } = texts.login;

/** What the page says about its numbers. */
const stateOf = (page: Page, state: string) => page.locator(`[data-connection=${state}]`);

describe.skipIf(skipped)('an outage', () => {
  const browser = testBrowser();
  const folder = suiteFolder();
  let stack: TestStack;
  let key = '';
  beforeAll(async () => {
    stack = await startStack(await stackEnv(folder));
    const { stdout } = await stack.tollway('key', 'create', '--role', 'admin', '--json');
    ({ key } = JSON.parse(stdout));
  });
  afterAll(async () => {
    await stack?.stop();
  });

  const openLive = async () => {
    const page = await browser.open('/', { key, consoleUrl: stack.consoleUrl });
    await stateOf(page, 'live').waitFor();
    return page;
  };

  it('of the console is shown with the age of the numbers, and survived', async () => {
    browser.allow(/^net::ERR_\w+ GET \/v1\/|^(401|503) GET /);
    const page = await openLive();
    process.kill(stack.pidOf('console/main.ts'), 'SIGKILL');
    await stateOf(page, 'disconnected').waitFor();
    expect(await stateOf(page, 'disconnected').textContent()).toMatch(/^Disconnected, \d+ m?s? ?old$/);
    await stateOf(page, 'live').waitFor();
    await page.getByRole('region', { name: texts.live.budgets.title, exact: true }).waitFor();
  });

  it('of the database is shown with the age of the numbers, and survived by a page that is loaded meanwhile too', async () => {
    browser.allow(
      /^net::ERR_\w+ GET \/v1\/|^503 GET \/v1\/|^401 GET \/v1\/session$|^503 POST \/v1\/session$/,
    );
    const page = await openLive();
    const other = await openLive();
    const link = await browser.open('/', { key: null, consoleUrl: stack.consoleUrl });
    await link.getByRole('heading', { name: texts.login.title }).waitFor();
    const [, token] = /#login=([\w-]+)/.exec((await stack.tollway('login')).stdout) ?? [];
    await link.goto('about:blank');
    const postmaster = stack.postmasterPid();
    process.kill(postmaster, 'SIGSTOP');
    const stopped = descendants(postmaster);
    for (const pid of stopped) process.kill(pid, 'SIGSTOP');
    try {
      await stateOf(page, 'late').waitFor();
      // The events that tell of the outage do not make the numbers young again.
      await stateOf(page, 'late')
        .getByText(/^1[2-9] s old$/)
        .waitFor();
      await other.reload();
      await other.getByRole('heading', { name: waiting.database.title }).waitFor();
      await other.getByText(waiting.database.clicks).waitFor();
      await link.goto(`/#login=${token}`);
      await link.getByRole('heading', { name: waiting.database.title }).waitFor();
      await page.getByRole('link', { name: texts.navigation.advertisers, exact: true }).first().click();
      await page.getByRole('alert').first().waitFor();
    } finally {
      for (const pid of stopped) process.kill(pid, 'SIGCONT');
    }
    await stateOf(page, 'live').waitFor();
    await stateOf(other, 'live').waitFor();
    // The login link was not used up, nor lost from the address.
    await stateOf(link, 'live').waitFor();
    // The view that failed loads by itself.
    await page.getByRole('link', { name: 'Sample Coffee' }).waitFor();
    await expect.poll(() => page.getByRole('alert').count()).toBe(0);
  });

  it('of the console is shown by a page that is loaded meanwhile, and survived', async () => {
    browser.allow(/^net::ERR_\w+ GET \/v1\//);
    const page = await openLive();
    await page.route('**/v1/session', (route) => route.abort());
    await page.reload();
    await page.getByRole('heading', { name: waiting.console.title }).waitFor();
    await page.getByText(/^Since .+ \(\d+ s\)\./).waitFor();
    await page.unroute('**/v1/session');
    await stateOf(page, 'live').waitFor();
  });

  it('of the database that ends and starts again is survived', async () => {
    browser.allow(/^net::ERR_\w+ GET \/v1\/|^503 GET \/v1\//);
    const page = await openLive();
    process.kill(stack.postmasterPid(), 'SIGINT');
    await expect.poll(() => stack.printed()).toContain('The embedded PostgreSQL had died');
    await stateOf(page, 'live').waitFor();
    await page.goto('/advertisers');
    await page.getByRole('link', { name: 'Sample Coffee' }).waitFor();
  });
});
