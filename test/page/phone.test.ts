import type { Locator, Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { addAccount, send } from './api.ts';
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

  it('the tab that is open is in sight', async () => {
    const page = await browser.open('/operations/settings', { viewport });
    await expectInSight(page.getByRole('link', { name: texts.operations.tabs.settings, exact: true }));
  });
});
