import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { clickLink } from '../support/clicks.ts';
import { until } from '../support/until.ts';
import { addAccount, send } from './api.ts';
import { skipped, testBrowser } from './browser.ts';

const { charge, statusChange } = texts;

/** Chooses an entry of the menu of actions. */
async function choose(page: Page, action: string): Promise<void> {
  await page.locator('summary', { hasText: texts.controls.actions }).click();
  await page.getByRole('button', { name: action, exact: true }).click();
}

/** Chooses a change of the status in the menu of actions and confirms it. */
async function changeStatus(page: Page, status: 'active' | 'archived', name: string): Promise<void> {
  const { action, title } = statusChange.campaign[status];
  await choose(page, action);
  const dialog = page.getByRole('dialog', { name: title(name) });
  await dialog.getByRole('button', { name: action, exact: true }).click();
  await dialog.waitFor({ state: 'detached' });
}

describe.skipIf(skipped)('the page of a campaign', () => {
  const browser = testBrowser();

  it('lists the ads of an archived campaign, and still does when it is resumed', async () => {
    const account = await addAccount({ name: 'Old', budget: '10.00', price: '0.50' });
    await send('PATCH', `/v1/campaigns/${account.campaignId}`, { body: { status: 'archived' } });
    const page = await browser.open(`/campaigns/${account.campaignId}`);
    await page.getByRole('link', { name: texts.ads.id(account.adId), exact: true }).waitFor();
    await changeStatus(page, 'active', 'Spring');
    await page.getByText(charge.charging).waitFor();
  });

  it('warns of a price above the daily cap, and says it where clicks are not charged', async () => {
    const { campaignId, adId } = await addAccount({ name: 'Dear', budget: '100.00', price: '0.50' });
    await send('PATCH', `/v1/campaigns/${campaignId}`, { body: { dailyCap: '5.00' } });
    const page = await browser.open(`/ads/${adId}`);
    await page.getByText(charge.charging).waitFor();
    await choose(page, texts.controls.edit);
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel(texts.ads.fields.price).fill('40');
    await dialog.getByText(texts.ads.fields.aboveDailyCap('5.00 EUR')).waitFor();
    await dialog.getByRole('button', { name: texts.controls.save }).click();
    await page.getByText(texts.priceAbove.price_above_daily_cap('40.00 EUR', '5.00 EUR')).waitFor();
    await page.goto(`/campaigns/${campaignId}`);
    await page.getByText(texts.priceAbove.price_above_daily_cap('40.00 EUR', '5.00 EUR')).waitFor();
    await choose(page, texts.controls.edit);
    const warning = dialog.getByText(
      texts.campaigns.fields.belowPrice(`${texts.ads.name(adId, null)} (40.00 EUR)`),
    );
    await warning.waitFor();
    await dialog.getByLabel(texts.campaigns.fields.dailyCap, { exact: false }).first().fill('40');
    await warning.waitFor({ state: 'detached' });
  });

  it('warns of a cap that pays for no click, also while the campaign is paused and in its forms', async () => {
    const { campaignId, link } = await addAccount({ name: 'Short cap', budget: '100.00', price: '0.50' });
    await send('PATCH', `/v1/campaigns/${campaignId}`, { body: { cap: '9.00' } });
    await clickLink(link);
    const read = async () => (await send('GET', `/v1/campaigns/${campaignId}`)).body;
    await until('the click in the ledger', async () => (await read()).spent === '0.50');
    const page = await browser.open(`/campaigns/${campaignId}`);
    await page.getByText(charge.charging).waitFor();
    await choose(page, texts.controls.edit);
    const dialog = page.getByRole('dialog');
    const cap = dialog.getByLabel(texts.campaigns.fields.cap, { exact: false }).first();
    await cap.fill('0.99');
    await dialog.getByText(texts.campaigns.fields.restBelowPrice('0.49 EUR')).waitFor();
    await dialog.getByRole('button', { name: texts.controls.save }).click();
    await page.getByText(texts.priceAbove.price_above_cap_left('0.50 EUR', '0.49 EUR')).waitFor();
    await page.getByRole('button', { name: texts.ads.create.action }).first().click();
    await dialog.getByLabel(texts.ads.fields.price).fill('0.50');
    await dialog.getByText(texts.ads.fields.aboveCapLeft('0.49 EUR')).waitFor();
    await send('PATCH', `/v1/campaigns/${campaignId}`, { body: { status: 'paused' } });
    await page.goto(`/campaigns/${campaignId}`);
    await page.getByText(charge.campaign_paused).waitFor();
    const warning = page.getByText(texts.campaigns.priceAbove.cap_left);
    await warning.waitFor();
    await send('PATCH', `/v1/campaigns/${campaignId}`, {
      body: { status: 'active', endsAt: '2026-01-01T00:00:00Z' },
    });
    await page.getByText(charge.ended).waitFor();
    expect(await warning.count(), 'of an ended campaign').toBe(0);
  });

  it('says where a manager looks that its daily cap is reached, and when it goes on', async () => {
    const { campaignId, advertiserId, adId, link } = await addAccount({
      ...{ name: 'Full day', budget: '100.00', price: '0.50', campaignName: 'Full of today' },
    });
    await send('PATCH', `/v1/campaigns/${campaignId}`, { body: { dailyCap: '0.75' } });
    await clickLink(link);
    const readUntil = async () =>
      (await send('GET', `/v1/campaigns/${campaignId}`)).body.dailyCapReachedUntil;
    await until('the click in the ledger', async () => (await readUntil()) !== null);
    const at = new Intl.DateTimeFormat('en-US', {
      ...{ dateStyle: 'medium', timeStyle: 'medium', timeZone: 'Europe/Berlin' },
    }).format(new Date(await readUntil()));
    const { dailyCapReached, goesOn } = texts.campaigns;
    const page = await browser.open(`/campaigns/${campaignId}`);
    await page.locator('.page-head .tag', { hasText: dailyCapReached }).waitFor();
    const note = page.locator('.note-box', { hasText: texts.nextDay.goesOn(at, 'Europe/Berlin') });
    await note.waitFor();
    expect(await note.getAttribute('class')).not.toMatch(/warn|bad/);
    await page.goto(`/ads/${adId}`);
    await note.waitFor();
    for (const path of ['/campaigns?search=Full+of', `/advertisers/${advertiserId}`]) {
      await page.goto(path);
      const row = page.getByRole('row').filter({ hasText: 'Full of today' });
      await row.locator('.tag', { hasText: dailyCapReached }).waitFor();
      await row.getByText(goesOn(at, 'Europe/Berlin')).waitFor();
    }
    await page.goto('/');
    const live = page.getByRole('region', { name: texts.live.dailyCaps.title, exact: true });
    await live.getByRole('row').filter({ hasText: 'Full of today' }).filter({ hasText: at }).waitFor();
  });

  it('does not say that a campaign goes on whose budget is exhausted too', async () => {
    const { campaignId, link } = await addAccount({
      ...{ name: 'Last money', budget: '0.75', price: '0.50', campaignName: 'Last day' },
    });
    await send('PATCH', `/v1/campaigns/${campaignId}`, { body: { dailyCap: '0.75' } });
    await clickLink(link);
    const read = async () => (await send('GET', `/v1/campaigns/${campaignId}`)).body;
    await until('the click in the ledger', async () => (await read()).dailyCapReachedUntil !== null);
    const page = await browser.open('/campaigns?search=Last+day');
    const row = page.getByRole('row').filter({ hasText: 'Last day' });
    await row.getByText(texts.campaigns.stops.exhausted, { exact: true }).waitFor();
    expect(await row.textContent()).not.toContain('goes on');
    await page.goto('/');
    const { title, stops } = texts.live.dailyCaps;
    const live = page.getByRole('region', { name: title, exact: true }).getByRole('row');
    await live.filter({ hasText: 'Last day' }).filter({ hasText: stops.exhausted }).waitFor();
  });

  it('does not say that a campaign goes on that has no active ad', async () => {
    const { campaignId, adId, link } = await addAccount({
      ...{ name: 'Ad paused', budget: '100.00', price: '0.50', campaignName: 'Without an ad' },
    });
    await send('PATCH', `/v1/campaigns/${campaignId}`, { body: { dailyCap: '0.75' } });
    await clickLink(link);
    const read = async () => (await send('GET', `/v1/campaigns/${campaignId}`)).body;
    await until('the click in the ledger', async () => (await read()).dailyCapReachedUntil !== null);
    await send('PATCH', `/v1/ads/${adId}`, { body: { status: 'paused' } });
    const { stops, noActiveAd } = texts.campaigns;
    const page = await browser.open('/campaigns?search=Without+an+ad');
    const row = page.getByRole('row').filter({ hasText: 'Without an ad' });
    await row.locator('.tag', { hasText: noActiveAd }).waitFor();
    await row.getByText(stops.noActiveAd, { exact: true }).waitFor();
    expect(await row.textContent()).not.toContain('goes on');
    await page.goto(`/campaigns/${campaignId}`);
    await page.locator('.page-head .tag', { hasText: noActiveAd }).waitFor();
    await page.goto('/');
    const live = page.getByRole('region', { name: texts.live.dailyCaps.title, exact: true }).getByRole('row');
    const shown = live.filter({ hasText: 'Without an ad' });
    await shown.filter({ hasText: texts.live.dailyCaps.stops.noActiveAd }).waitFor();
  });

  it('says what is left of a day when less is left of the cap of all clicks', async () => {
    const { campaignId } = await addAccount({ name: 'Small cap', budget: '100.00', price: '0.50' });
    await send('PATCH', `/v1/campaigns/${campaignId}`, { body: { cap: '10.00', dailyCap: '50.00' } });
    const page = await browser.open(`/campaigns/${campaignId}`);
    const { spend } = texts.campaigns;
    await page.getByText(`${spend.todayOf('50.00 EUR')} · ${spend.leftOfCap('10.00 EUR')}`).waitFor();
  });

  it('says beside the field, in its words, what does not fit together', async () => {
    const { campaignId } = await addAccount({ name: 'Wrong way', budget: '10.00', price: '0.50' });
    const page = await browser.open(`/campaigns/${campaignId}`);
    const { fields, pacings } = texts.campaigns;
    await page.getByText(charge.charging).waitFor();
    await choose(page, texts.controls.edit);
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel(fields.firstDay).fill('2026-12-02');
    await dialog.getByLabel(fields.lastDay).fill('2026-12-01');
    await dialog.getByRole('button', { name: texts.controls.save }).click();
    await dialog.getByText(fields.endBeforeStart).waitFor();
    await dialog.getByLabel(fields.lastDay).fill('2026-12-03');
    await dialog.getByLabel(fields.pacing).selectOption('even');
    await dialog.getByRole('button', { name: texts.controls.save }).click();
    await dialog.getByText(fields.pacingWithoutCap(pacings.even)).waitFor();
  });

  it('saves nothing with a date that is half filled in', async () => {
    const { campaignId } = await addAccount({ name: 'Half a date', budget: '10.00', price: '0.50' });
    const page = await browser.open(`/campaigns/${campaignId}`);
    await page.getByText(charge.charging).waitFor();
    await choose(page, texts.controls.edit);
    const dialog = page.getByRole('dialog');
    const lastDay = dialog.getByLabel(texts.campaigns.fields.lastDay);
    // The month and the day.
    await lastDay.pressSequentially('1231');
    await dialog.getByRole('button', { name: texts.controls.save }).click();
    await dialog.getByText(texts.errors.incomplete).waitFor();
    await lastDay.fill('2099-12-31');
    await dialog.getByRole('button', { name: texts.controls.save }).click();
    await dialog.waitFor({ state: 'detached' });
    const { body } = await send('GET', `/v1/campaigns/${campaignId}`);
    expect(body).toMatchObject({ endsAt: expect.stringMatching(/^2100-01-01|^2099-12-31/) });
  });

  it('and its ads are named in the history of its advertiser', async () => {
    const { advertiserId, campaignId, adId } = await addAccount({
      ...{ name: 'Historian', budget: '10.00', price: '0.50', campaignName: 'Harvest', adName: 'Apples' },
    });
    const page = await browser.open(`/advertisers/${advertiserId}`);
    const { actions, fields } = texts.history;
    const created = page.locator('.change').filter({ hasText: actions['campaign.create'] ?? '' });
    await created.getByRole('link', { name: `${campaignId} Harvest`, exact: true }).waitFor();
    const added = page.locator('.change').filter({ hasText: actions['ad.create'] ?? '' });
    await added.getByRole('link', { name: `${adId} Apples`, exact: true }).waitFor();
    await added.getByText(`${fields.campaignId}: ${campaignId} Harvest`).waitFor();
  });

  it.each([
    ['campaign', charge.no_ad],
    ['ad', charge.ad_paused],
  ] as const)('shows on the page of the %s that somebody else has paused the ad', async (kind, said) => {
    const account = await addAccount({ name: `Shared ${kind}`, budget: '10.00', price: '0.50' });
    const id = kind === 'ad' ? account.adId : account.campaignId;
    const page = await browser.open(`/${kind}s/${id}`);
    await page.getByText(charge.charging).waitFor();
    await send('PATCH', `/v1/ads/${account.adId}`, { body: { status: 'paused' } });
    await page.getByText(said).waitFor();
    await page.locator('main').getByText(`${texts.status.paused}`, { exact: true }).first().waitFor();
  });
});
