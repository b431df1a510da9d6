import type { Locator, Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { clickLink } from '../support/clicks.ts';
import { until } from '../support/until.ts';
import { addAccount, addKey, post, send } from './api.ts';
import { skipped, testBrowser } from './browser.ts';

const WIDTH = 390;
const viewport = { width: WIDTH, height: 844 };

const region = (page: Page, name: string) => page.getByRole('region', { name, exact: true });

/** Waits until something is between the left and the right edge of the screen. */
async function expectInSight(found: Locator): Promise<void> {
  const isInside = async () => {
    const box = await found.first().boundingBox();
    return box !== null && box.x >= 0 && box.x + box.width <= WIDTH;
  };
  await expect.poll(isInside, { message: String(found) }).toBe(true);
}

/** Waits until there is a table, and none is wider than its box. */
async function expectFits(page: Page): Promise<void> {
  await page.locator('.table-box').first().waitFor();
  const wide = () =>
    page.evaluate<string[]>(
      `[...document.querySelectorAll('.table-box')].filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.ariaLabel)`,
    );
  await expect.poll(wide, { message: page.url() }).toEqual([]);
}

describe.skipIf(skipped)('on a phone', () => {
  const browser = testBrowser();

  it('the lists show their caps, prices, states and amounts', async () => {
    const account = await addAccount({ name: 'Pocket', budget: '123.00', price: '0.50' });
    await send('PATCH', `/v1/campaigns/${account.campaignId}`, { body: { cap: '77.00', dailyCap: '11.00' } });
    const page = await browser.open(`/advertisers/${account.advertiserId}`, { viewport });
    const { entries } = texts.advertisers;
    await expectInSight(region(page, entries.title).getByText('123.00'));
    await expectInSight(region(page, texts.campaigns.title).getByText('77.00'));
    await expectInSight(region(page, texts.campaigns.title).getByText('11.00'));
    await page.goto(`/campaigns/${account.campaignId}`);
    await expectInSight(region(page, texts.ads.title).getByText('0.50'));
    await expectInSight(region(page, texts.ads.title).getByText(`${texts.status.active}`, { exact: true }));
    await page.goto(`/statements?advertiser=${account.advertiserId}`);
    await expectInSight(region(page, texts.statements.entries).getByText('123.00'));
    await page.goto('/advertisers');
    await expectInSight(page.getByRole('row').filter({ hasText: account.name }).getByText('123.00'));
  });

  it('webhooks, events, reports and statements show what stands in their last column', async () => {
    const account = await addAccount({
      name: 'Narrow',
      budget: '0.50',
      price: '0.50',
      adName: 'Wide banner',
    });
    const url = 'https://example.com/a/receiver/with/a/long/path?and=a-token-that-is-long-too';
    const { id: webhookId } = await post('/v1/webhooks', { url, advertiserId: account.advertiserId });
    const { clickId } = await clickLink(account.link);
    await until(
      'the click in the ledger',
      async () => (await send('GET', `/v1/clicks/${clickId}`)).body.outcome === 'charged',
    );
    const { webhooks, webhookEvents } = texts.operations;
    const page = await browser.open('/operations/webhooks', { viewport });
    const events = region(page, webhookEvents.title).getByRole('row').filter({ hasText: account.name });
    await expectInSight(events.getByRole('button', { name: webhookEvents.look }));
    await expectInSight(
      region(page, webhooks.title).getByRole('row').filter({ hasText: url }).locator('.tag').last(),
    );
    await page.goto(`/operations/webhooks/${webhookId}`);
    await region(page, webhooks.deliveries).waitFor();
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(WIDTH);
    await page.goto(`/reports?advertiser=${account.advertiserId}&by=ad&and=outcome`);
    const report = region(page, texts.reports.table).getByRole('row');
    await expectInSight(report.filter({ hasText: 'Wide banner' }).getByText('0.50').last());
    await expectInSight(report.filter({ hasText: texts.reports.total }).getByText('0.50').last());
    await page.goto(`/statements?advertiser=${account.advertiserId}`);
    const charges = region(page, texts.statements.charges).getByRole('row');
    await expectInSight(charges.filter({ hasText: 'Wide banner' }).getByText('0.50'));
    await send('DELETE', `/v1/webhooks/${webhookId}`);
  });

  it('no table of the operations is wider than the screen', async () => {
    await addKey({ role: 'viewer' });
    const page = await browser.open('/operations', { viewport });
    for (const path of ['', '/keys', '/settings', '/audit']) {
      await page.goto(`/operations${path}`);
      await expectFits(page);
    }
  });

  it('asks whether an entry is discarded in lines that can be read', async () => {
    const page = await browser.open('/advertisers', { viewport });
    await page.getByRole('button', { name: texts.advertisers.create.action }).first().click();
    await page.getByRole('dialog').waitFor();
    await page.keyboard.type('Typed');
    await page.keyboard.press('Escape');
    const question = await page.getByText(texts.controls.discard.question).boundingBox();
    expect(question?.width).toBeGreaterThan(200);
  });

  it('the tab that is open is in sight', async () => {
    const page = await browser.open('/operations/settings', { viewport });
    await expectInSight(page.getByRole('link', { name: texts.operations.tabs.settings, exact: true }));
  });
});

describe.skipIf(skipped)('on a tablet', () => {
  const browser = testBrowser();

  it('a table whose columns do not fit stacks its rows, and lists them in columns again on a wider screen', async () => {
    const account = await addAccount({ name: 'Tablet', budget: '10.00', price: '0.50' });
    const advertiserIds = [account.advertiserId];
    await addKey({ role: 'manager', advertiserIds });
    const url = 'https://example.com/a/receiver/with/a/long/path?and=a-token-that-is-long-too';
    const { id: webhookId } = await post('/v1/webhooks', { url, eventTypes: ['budget.low'] });
    const { clickId } = await clickLink(account.link);
    await until(
      'the click in the ledger',
      async () => (await send('GET', `/v1/clicks/${clickId}`)).body.outcome === 'charged',
    );
    const page = await browser.open('/operations/webhooks', { viewport: { width: 768, height: 1024 } });
    for (const path of [
      ...['/operations/webhooks', '/operations/keys', `/clicks?advertiser=${account.advertiserId}`],
      ...['/campaigns', '/advertisers', '/ads', '/operations', '/'],
    ]) {
      await page.goto(path);
      await expectFits(page);
    }
    await page.goto('/operations/keys');
    const table = region(page, texts.operations.keys.title).locator('table');
    await expect.poll(() => table.getAttribute('class')).toBe('stacked');
    await table.getByText(account.name, { exact: true }).first().waitFor();
    await page.setViewportSize({ width: 1440, height: 900 });
    await expect.poll(() => table.getAttribute('class')).toBe('');
    await page.setViewportSize({ width: 768, height: 1024 });
    await expect.poll(() => table.getAttribute('class')).toBe('stacked');
    await send('DELETE', `/v1/webhooks/${webhookId}`);
  });

  it('tabs that do not fit have a shadow at the edge behind which there are more', async () => {
    const page = await browser.open('/operations', { viewport: { width: 768, height: 1024 } });
    const tabs = page.getByRole('navigation', { name: texts.operations.tabs.label });
    await expect.poll(() => tabs.evaluate((element) => element.scrollWidth > element.clientWidth)).toBe(true);
    const image = await page.evaluate<string>(
      `getComputedStyle(document.querySelector('.tabs')).backgroundImage`,
    );
    expect(image).toContain('gradient');
  });
});
