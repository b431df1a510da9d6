import { beforeAll, describe, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { clickLink } from '../support/clicks.ts';
import { until } from '../support/until.ts';
import { addAccount, addKey, post, send, type TestAccount } from './api.ts';
import { skipped, testBrowser } from './browser.ts';
import { checkLooks, settle } from './looks.ts';

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
