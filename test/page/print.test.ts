import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { addAccount, type TestAccount } from './api.ts';
import { skipped, testBrowser } from './browser.ts';
import { settle } from './looks.ts';

/** Whether the chart has a pixel of the lines of the dark theme. */
const hasDarkLines = (page: Page) =>
  page.evaluate<boolean>(`(() => {
    const canvas = document.querySelector('.chart canvas');
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4)
      if (data[at] === 0x26 && data[at + 1] === 0x2e && data[at + 2] === 0x39 && data[at + 3] === 255) return true;
    return false;
  })()`);

describe.skipIf(skipped)('a report on paper', () => {
  const browser = testBrowser();
  let account: TestAccount;
  beforeAll(async () => {
    account = await addAccount({ name: 'On paper', budget: '10.00', price: '0.40' });
  });

  it('says whose it is and of which days, in light colours', async () => {
    const page = await browser.open(`/reports?advertiser=${account.advertiserId}`, { colorScheme: 'dark' });
    await settle(page);
    await page.locator('.chart canvas').waitFor();
    await expect.poll(() => hasDarkLines(page)).toBe(true);
    const about = page.getByText(/^On paper, .+ \d{4} – .+ \d{4}$/);
    expect(await about.isVisible()).toBe(false);
    await page.emulateMedia({ media: 'print' });
    await expect.poll(() => about.isVisible()).toBe(true);
    expect(await page.getByLabel(texts.reports.period).isVisible()).toBe(false);
    await expect.poll(() => hasDarkLines(page)).toBe(false);
  });
});
