import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { clickLink } from '../support/clicks.ts';
import { addAccount } from './api.ts';
import { skipped, testBrowser } from './browser.ts';

const panelOf = (page: Page, title: string) =>
  page.locator('section', { has: page.getByRole('heading', { name: title, exact: true }) });

describe.skipIf(skipped)('the page of an ad', () => {
  const browser = testBrowser();

  it('shows its clicks and its spend, by itself', async () => {
    const account = await addAccount({ name: 'Ad page', budget: '10.00', price: '0.50' });
    const page = await browser.open(`/ads/${account.adId}`);
    const panel = panelOf(page, texts.ads.spend.title);
    await panel.getByText(texts.ads.spend.clicks('0', '0')).first().waitFor();
    await expect.poll(async () => (await clickLink(account.link)).clickId).not.toBeNull();
    await clickLink(account.link, { 'user-agent': 'Googlebot/2.1' });
    await expect.poll(() => panel.textContent(), { timeout: 20_000 }).toMatch(/Today\s*0\.50\s*EUR/);
    await expect.poll(() => panel.textContent()).toContain(texts.ads.spend.clicks('1', '1'));
    expect(await panel.textContent()).toContain('Europe/Berlin');
  });

  it('makes links for a number of days alone', async () => {
    const account = await addAccount({ name: 'Days', budget: '10.00', price: '0.50' });
    browser.allow(/^400 POST \/v1\/links$/);
    const page = await browser.open(`/ads/${account.adId}`);
    const field = page.getByLabel(texts.ads.links.expires);
    for (const text of ['abc', '1.5', '0']) {
      await field.fill(text);
      await field.press('Enter');
      await page.getByText(`Expected a whole number of days such as 30, got “${text}”`).waitFor();
    }
    await field.fill('2');
    await field.press('Enter');
    await page.getByText(texts.ads.links.madeOne).waitFor();
  });

  it('of a click and the audit log name the time zone of their times', async () => {
    const account = await addAccount({ name: 'Zones', budget: '10.00', price: '0.50' });
    const { clickId } = await clickLink(account.link);
    const page = await browser.open(`/clicks/${clickId}`);
    const zone = texts.units.zone('UTC');
    await panelOf(page, texts.clicks.story).getByText(zone).waitFor();
    await page.goto('/operations/audit');
    await panelOf(page, texts.operations.audit.title).locator('.note').getByText(zone).waitFor();
  });
});
