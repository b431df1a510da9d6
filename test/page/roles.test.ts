import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { addAccount, addKey, send, type TestAccount } from './api.ts';
import { skipped, testBrowser } from './browser.ts';

const { advertisers, campaigns, ads, statusChange, operations, controls } = texts;

/** Names of the actions of a view: its buttons, those of its menus included, and its links that look like buttons. */
async function actionsOf(page: Page): Promise<readonly string[]> {
  await page.getByRole('heading', { level: 1 }).waitFor();
  await page.locator('main .skeleton').first().waitFor({ state: 'detached' });
  const names = await page.locator('main').locator('button, a.button').allTextContents();
  return [...new Set(names)];
}

describe.skipIf(skipped)('roles', () => {
  const browser = testBrowser();
  let account: TestAccount;
  beforeAll(async () => {
    account = await addAccount({ name: 'Of all roles', budget: '10.00', price: '1.00' });
  });

  it('a viewer sees no action that a manager or an administrator has, and the API refuses each', async () => {
    const { advertiserId, campaignId, adId } = account;
    const viewer = await addKey({ role: 'viewer' });
    const changes = ['paused', 'archived'] as const;
    const views = {
      '/advertisers': [advertisers.create.action],
      [`/advertisers/${advertiserId}`]: [
        ...[advertisers.topUp.action, advertisers.adjust.action, advertisers.credit.action, controls.edit],
        ...[campaigns.create.action, ...changes.map((status) => statusChange.advertiser[status].action)],
      ],
      [`/campaigns/${campaignId}`]: [
        ...[
          ads.create.action,
          controls.edit,
          ...changes.map((status) => statusChange.campaign[status].action),
        ],
      ],
      [`/ads/${adId}`]: [
        ...[ads.links.submitOne, controls.edit, ...changes.map((status) => statusChange.ad[status].action)],
      ],
      '/operations/keys': [operations.keys.create],
      '/operations/webhooks': [operations.webhooks.create],
      '/try': [texts.try.start],
    };
    const admin = await browser.open('/');
    const page = await browser.open('/', { key: viewer.key });
    for (const [path, expected] of Object.entries(views)) {
      await Promise.all([admin.goto(path), page.goto(path)]);
      // Another test can run samples at the moment: there is an action to stop them instead.
      await expect.poll(() => actionsOf(admin), { message: path }).toEqual(expect.arrayContaining(expected));
      const seen = await actionsOf(page);
      expect(
        expected.filter((action) => seen.includes(action)),
        path,
      ).toEqual([]);
    }
    for (const [method, path, body] of [
      ['POST', '/v1/advertisers', { name: 'X', currency: 'EUR', timeZone: 'UTC' }],
      ['PATCH', `/v1/advertisers/${advertiserId}`, { status: 'paused' }],
      ['POST', `/v1/advertisers/${advertiserId}/budget-entries`, { kind: 'top_up', amount: '1.00' }],
      ['POST', '/v1/campaigns', { advertiserId, name: 'X' }],
      ['PATCH', `/v1/campaigns/${campaignId}`, { status: 'paused' }],
      ['POST', '/v1/links', { adId }],
      ['POST', '/v1/keys', { name: 'X', role: 'viewer' }],
      ['POST', '/v1/samples', { ratePerSecond: 1, seconds: 1, spike: false }],
    ] as const) {
      const answer = await send(method, path, { body, key: viewer.key });
      expect({ path, status: answer.status }).toEqual({ path, status: 403 });
    }
  });

  it('a manager sees its actions, and not those of finance and of administrators', async () => {
    const { key } = await addKey({ role: 'manager' });
    const page = await browser.open(`/advertisers/${account.advertiserId}`, { key });
    const actions = await actionsOf(page);
    expect(actions).toContain(campaigns.create.action);
    for (const name of [advertisers.topUp.action, advertisers.adjust.action, controls.edit])
      expect(actions).not.toContain(name);
  });

  it('a key of one advertiser sees that one alone', async () => {
    const other = await addAccount({ name: 'Somebody else', budget: '10.00', price: '1.00' });
    const { key } = await addKey({ role: 'manager', advertiserIds: [account.advertiserId] });
    const page = await browser.open('/', { key });
    const budgets = page.getByRole('region', { name: texts.live.budgets.title, exact: true });
    await budgets.getByText(account.name).waitFor();
    expect(await budgets.locator('tbody tr').count()).toBe(1);
    // The parts of the installation are not its own.
    expect(await page.getByRole('heading', { name: texts.live.flow.title }).count()).toBe(0);
    await page.goto('/advertisers');
    await page.getByRole('link', { name: account.name }).waitFor();
    expect(await page.locator('main tbody tr').count()).toBe(1);
    expect(await page.locator('body').textContent()).not.toContain(other.name);

    browser.allow(/^404 GET \/v1\/(advertisers|campaigns|ads)\//);
    for (const path of [
      `/advertisers/${other.advertiserId}`,
      `/campaigns/${other.campaignId}`,
      `/ads/${other.adId}`,
    ]) {
      await page.goto(path);
      await page.getByRole('alert').first().waitFor();
      expect(await page.locator('body').textContent()).not.toContain(other.name);
    }
    await page.goto('/operations/keys');
    await page.getByText(texts.errors.forbidden).waitFor();
  });
});
