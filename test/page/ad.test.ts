import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { clickLink } from '../support/clicks.ts';
import { BROWSER } from '../support/stack.ts';
import { until } from '../support/until.ts';
import { addAccount, addKey, destination, post, send } from './api.ts';
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

  it('and that of its campaign show the same sum after a credit, and the page of the ad the corrected one', async () => {
    const account = await addAccount({ name: 'Given back', budget: '10.00', price: '0.25' });
    await send('PATCH', `/v1/campaigns/${account.campaignId}`, { body: { dailyCap: '5.00' } });
    const { clickId } = await clickLink(account.link);
    await clickLink(account.link, { 'user-agent': `${BROWSER} Edg/1.0.0.0` });
    const spentToday = async () =>
      (await send('GET', `/v1/campaigns/${account.campaignId}`)).body.spentToday === '0.50';
    await until('both clicks in the ledger', spentToday);
    await post(`/v1/clicks/${clickId}/credit`, {});
    const page = await browser.open(`/ads/${account.adId}`);
    const panel = panelOf(page, texts.ads.spend.title);
    await panel.getByText(texts.ads.spend.corrected('0.25 EUR')).first().waitFor();
    expect(await panel.textContent()).toMatch(/Today\s*0\.50\s*EUR/);
    expect(await panel.textContent()).toContain(texts.units.asCharged);
    await page.goto(`/campaigns/${account.campaignId}`);
    const spend = panelOf(page, texts.campaigns.spend.title);
    await spend.getByText(texts.units.asCharged).waitFor();
    expect(await spend.textContent()).toMatch(/Today\s*0\.50\s*EUR/);
  });

  it('has a name that its form sets and removes, and the list finds', async () => {
    const { campaignId, adId } = await addAccount({ name: 'Named', budget: '10.00', price: '0.50' });
    const { fields, edit, create, name: nameOf, id: idOf, title } = texts.ads;
    const page = await browser.open(`/campaigns/${campaignId}`);
    await page.getByRole('button', { name: create.action }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel(fields.name).fill('Banner 300x250, blue');
    await dialog.getByLabel(fields.price).fill('0.50');
    await dialog.getByLabel(fields.urlTemplate).fill(destination());
    await dialog.getByRole('button', { name: create.submit }).click();
    await dialog.waitFor({ state: 'detached' });
    const { body } = await send('GET', `/v1/ads?campaignId=${campaignId}&search=banner`);
    const [{ id }] = body.items;
    const heading = (text: string) => page.getByRole('heading', { level: 1, name: text, exact: true });
    await heading(nameOf(id, 'Banner 300x250, blue')).waitFor();
    await page.goto(`/campaigns/${campaignId}`);
    const row = page.getByRole('row').filter({ hasText: 'Banner 300x250, blue' });
    await row.getByText(idOf(id), { exact: true }).waitFor();
    await page
      .getByRole('row')
      .getByRole('link', { name: idOf(adId), exact: true })
      .waitFor();
    await row.getByRole('link').click();
    const rename = async (before: string, after: string) => {
      await page.locator('summary', { hasText: texts.controls.actions }).click();
      await page.getByRole('button', { name: texts.controls.edit, exact: true }).click();
      await page.getByRole('heading', { name: edit.title(before), exact: true }).waitFor();
      await dialog.getByLabel(fields.name).fill(after);
      await dialog.getByRole('button', { name: texts.controls.save }).click();
      await dialog.waitFor({ state: 'detached' });
    };
    await rename(nameOf(id, 'Banner 300x250, blue'), 'Banner 300x250, red');
    await heading(nameOf(id, 'Banner 300x250, red')).waitFor();
    await page.goto('/ads');
    await page.getByLabel(texts.controls.search).fill('300X250, RED');
    const list = page.getByRole('region', { name: title, exact: true });
    await expect.poll(() => list.locator('tbody tr').count()).toBe(1);
    await list.getByRole('link', { name: 'Banner 300x250, red', exact: true }).click();
    await heading(nameOf(id, 'Banner 300x250, red')).waitFor();
    await rename(nameOf(id, 'Banner 300x250, red'), '');
    await heading(nameOf(id, null)).waitFor();
    expect((await send('GET', `/v1/ads/${id}`)).body.name).toBeNull();
  });

  it('is named with its id in the live view, on the page of a click, in reports and in statements', async () => {
    const terms = { name: 'Everywhere', budget: '10.00', price: '0.50', adName: 'Skyscraper' };
    const { advertiserId, adId, link } = await addAccount(terms);
    const { clickId } = await clickLink(link);
    const isCharged = async () => (await send('GET', `/v1/clicks/${clickId}`)).body.outcome === 'charged';
    await until('the click in the ledger', isCharged);
    // Restricted: other tests click too, and an administrator sees the top ads and the latest clicks of all.
    const { key } = await addKey({ role: 'viewer', advertiserIds: [advertiserId] });
    const page = await browser.open('/', { key });
    const name = texts.ads.name(adId, 'Skyscraper');
    for (const title of [texts.live.latest.title, texts.live.top.ads])
      await panelOf(page, title).getByRole('link', { name, exact: true }).first().waitFor();
    for (const path of [
      `/clicks/${clickId}`,
      `/reports?advertiser=${advertiserId}&by=ad`,
      `/statements?advertiser=${advertiserId}`,
    ]) {
      await page.goto(path);
      await page.locator('main').getByRole('link', { name, exact: true }).waitFor();
    }
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
