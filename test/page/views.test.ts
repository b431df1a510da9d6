import { join } from 'node:path';
import axe, { type AxeResults } from 'axe-core';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { clickLink } from '../support/clicks.ts';
import { until } from '../support/until.ts';
import { addAccount, addKey, post, send, type TestAccount } from './api.ts';
import { pageRun, skipped, testBrowser } from './browser.ts';

const PHONE = { width: 390, height: 844 };

/** Name of a view in its screenshots, and its path. */
type View = { readonly name: string; readonly path: () => string };

let account: TestAccount;
let clickId = '';
let webhookId = 0;

const VIEWS: readonly View[] = [
  { name: 'live', path: () => '/' },
  { name: 'advertisers', path: () => '/advertisers' },
  { name: 'advertiser', path: () => `/advertisers/${account.advertiserId}` },
  { name: 'campaigns', path: () => '/campaigns' },
  { name: 'campaign', path: () => `/campaigns/${account.campaignId}` },
  { name: 'ads', path: () => '/ads' },
  { name: 'ad', path: () => `/ads/${account.adId}` },
  { name: 'reports', path: () => '/reports' },
  { name: 'statements', path: () => '/statements' },
  { name: 'statement', path: () => `/statements?advertiser=${account.advertiserId}` },
  { name: 'clicks', path: () => '/clicks' },
  { name: 'click', path: () => `/clicks/${clickId}` },
  { name: 'operations', path: () => '/operations' },
  { name: 'operations-reconciliation', path: () => '/operations/reconciliation' },
  { name: 'operations-dead-letters', path: () => '/operations/dead-letters' },
  { name: 'operations-webhooks', path: () => '/operations/webhooks' },
  { name: 'operations-webhook', path: () => `/operations/webhooks/${webhookId}` },
  { name: 'operations-keys', path: () => '/operations/keys' },
  { name: 'operations-audit', path: () => '/operations/audit' },
  { name: 'operations-settings', path: () => '/operations/settings' },
  { name: 'try', path: () => '/try' },
  { name: 'no-such-page', path: () => '/advertisers/999999' },
];

/** Waits until a view has loaded and its numbers are live. */
async function settle(page: Page): Promise<void> {
  await page.getByRole('heading', { level: 1 }).waitFor();
  await page.locator('[data-connection=live]').waitFor();
  await expect.poll(() => page.locator('.skeleton').count()).toBe(0);
}

/** What axe finds that is serious or critical. `rules`: those to check; all by default. */
async function seriousFaults(page: Page, ...rules: readonly string[]): Promise<readonly string[]> {
  await page.evaluate(axe.source);
  const only = rules.length > 0 ? { runOnly: rules } : {};
  const options = JSON.stringify({ ...only, resultTypes: ['violations'] });
  const { violations } = await page.evaluate<AxeResults>(`axe.run(document, ${options})`);
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target, any }) => `${id}: ${target} ${any[0]?.message ?? ''}`));
}

const isWiderThanItsWindow = (page: Page) =>
  page.evaluate<boolean>('document.documentElement.scrollWidth > window.innerWidth');

const save = (page: Page, name: string, look: string) =>
  page.screenshot({ path: join(pageRun().screenshotFolder, `${name}-${look}.png`) });

/** Checks a view in light, in dark, and on a phone, with a picture of each. */
async function checkLooks(page: Page, name: string): Promise<void> {
  await save(page, name, 'light');
  expect.soft(await seriousFaults(page), 'axe, light').toEqual([]);
  await page.emulateMedia({ colorScheme: 'dark' });
  await save(page, name, 'dark');
  expect.soft(await seriousFaults(page, 'color-contrast'), 'axe, dark').toEqual([]);
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(PHONE);
  await save(page, name, 'phone');
  expect.soft(await isWiderThanItsWindow(page), 'wider than a phone').toBe(false);
}

describe.skipIf(skipped)('each view', () => {
  const browser = testBrowser();
  beforeAll(async () => {
    account = await addAccount({ name: 'Northern Tea', budget: '250.00', price: '0.40' });
    const clicked = await clickLink(account.link);
    clickId = clicked.clickId ?? '';
    await clickLink(account.link, { 'user-agent': 'Googlebot/2.1' });
    const webhook = { url: 'https://example.com/hook', advertiserId: account.advertiserId };
    ({ id: webhookId } = await post('/v1/webhooks', webhook));
    await addKey({ role: 'viewer' });
    await until(
      'the click in the ledger',
      async () => (await send('GET', `/v1/clicks/${clickId}`)).body.outcome === 'charged',
    );
  });

  it.each(VIEWS)('$name has no errors, and axe finds nothing serious', async ({ name, path }) => {
    if (name === 'no-such-page') browser.allow(/^404 GET /);
    const page = await browser.open(path());
    await settle(page);
    await checkLooks(page, name);
  });

  it('login has no errors, and axe finds nothing serious', async () => {
    browser.allow(/^401 GET \/v1\/session$/);
    const page = await browser.open('/', { key: null });
    await page.getByRole('heading', { name: texts.login.title, level: 1 }).waitFor();
    await checkLooks(page, 'login');
  });

  it('a dialog has no errors, and axe finds nothing serious', async () => {
    const page = await browser.open(`/advertisers/${account.advertiserId}`);
    await settle(page);
    await page.getByRole('button', { name: texts.campaigns.create.action }).first().click();
    await page.getByRole('dialog').waitFor();
    await checkLooks(page, 'dialog');
  });
});
