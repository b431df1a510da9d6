import { describe, expect, it } from 'vitest';
import { clickLink } from '../support/clicks.ts';
import { until } from '../support/until.ts';
import { addAccount, addKey, post, send } from './api.ts';
import { skipped, testBrowser } from './browser.ts';

const NAME = '<img src=x onerror=alert(1)>';

describe.skipIf(skipped)('a name that is HTML', () => {
  const browser = testBrowser();

  it('is text in every view', { timeout: 120_000 }, async () => {
    const { advertiserId, campaignId, adId, link } = await addAccount({
      name: NAME,
      budget: '5.00',
      price: '1.00',
      campaignName: NAME,
      adName: NAME,
    });
    await post('/v1/keys', { name: NAME, role: 'viewer', advertiserIds: [advertiserId] });
    const { clickId } = await clickLink(link);
    await until(
      'the click in the ledger',
      async () => (await send('GET', `/v1/clicks/${clickId}`)).body.outcome === 'charged',
    );
    const page = await browser.open('/advertisers');
    for (const path of [
      '/advertisers?search=img',
      '/campaigns?search=img',
      '/ads?search=img',
      `/advertisers/${advertiserId}`,
      `/campaigns/${campaignId}`,
      `/ads/${adId}`,
      `/reports?advertiser=${advertiserId}&by=campaign`,
      `/reports?advertiser=${advertiserId}&by=ad`,
      `/clicks/${clickId}`,
      '/reports?by=advertiser',
      `/statements?advertiser=${advertiserId}`,
      '/operations/keys',
      '/operations/audit',
    ]) {
      await page.goto(path);
      await page.locator('main').getByText(NAME).filter({ visible: true }).first().waitFor();
      await expect.poll(() => page.locator('.skeleton').count()).toBe(0);
      expect(await page.locator('img').count(), path).toBe(0);
    }
    // Restricted: an administrator sees the latest clicks of all tests.
    const { key } = await addKey({ role: 'viewer', advertiserIds: [advertiserId] });
    const live = await browser.open('/', { key });
    await live.locator('main').getByText(NAME).filter({ visible: true }).first().waitFor();
    expect(await live.locator('img').count(), '/').toBe(0);
  });
});
