import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { destination } from './api.ts';
import { skipped, testBrowser } from './browser.ts';

/** The work of an account manager, on the page alone. Each test goes on where the one before has ended. */

const { advertisers, campaigns, ads, statements, reports, controls } = texts;
const NAME = 'Blue Shoes';
const CAMPAIGN = 'Winter';

const dialogOf = (page: Page) => page.getByRole('dialog');
const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });
const statOf = (page: Page, label: string) =>
  page
    .locator('.stat')
    .filter({ has: page.getByText(label, { exact: true }) })
    .locator('dd')
    .first();

async function fill(page: Page, values: Readonly<Record<string, string>>): Promise<void> {
  for (const [label, value] of Object.entries(values))
    await dialogOf(page).getByLabel(label, { exact: false }).first().fill(value);
}

async function submit(page: Page, name: string): Promise<void> {
  await dialogOf(page).getByRole('button', { name, exact: true }).click();
  await dialogOf(page).waitFor({ state: 'detached' });
}

describe.skipIf(skipped)('the work of a month on the page', () => {
  const browser = testBrowser();
  let advertiserPath = '';
  let campaignPath = '';
  let clickId = '';

  it('creates an advertiser, tops it up, and refuses the same reference twice', async () => {
    const page = await browser.open('/advertisers');
    await button(page, advertisers.create.action).click();
    const { name, currency, timeZone } = advertisers.create;
    await fill(page, { [name]: NAME, [currency]: 'EUR', [timeZone]: 'Europe/Berlin' });
    await submit(page, advertisers.create.submit);
    await page.getByRole('heading', { name: NAME, level: 1 }).waitFor();
    advertiserPath = new URL(page.url()).pathname;
    const { amount, reference, repeated } = advertisers.topUp;
    for (const said of [advertisers.topUp.done('5.00 EUR'), repeated]) {
      await button(page, advertisers.topUp.action).first().click();
      await fill(page, { [amount]: '5.00', [reference]: 'invoice 7' });
      await submit(page, advertisers.topUp.submit);
      await page.getByText(said).waitFor();
    }
    await expect.poll(() => statOf(page, advertisers.budget.left).textContent()).toBe('5.00EUR');
  });

  it('creates a campaign with a cap, an ad and a link, and charges a real click', async () => {
    const page = await browser.open(advertiserPath);
    await button(page, campaigns.create.action).first().click();
    await fill(page, { [campaigns.fields.name]: CAMPAIGN, [campaigns.fields.cap]: '2.00' });
    await submit(page, campaigns.create.submit);
    await page.getByRole('heading', { name: CAMPAIGN, level: 1 }).waitFor();
    campaignPath = new URL(page.url()).pathname;
    await button(page, ads.create.action).first().click();
    await fill(page, { [ads.fields.price]: '1.25', [ads.fields.urlTemplate]: destination() });
    await submit(page, ads.create.submit);
    await page.locator('a[href^="/ads/"]').first().click();
    await button(page, ads.links.submitOne).click();
    const opened = page.waitForEvent('popup');
    await page.getByRole('link', { name: ads.links.open, exact: true }).click();
    const visit = await opened;
    await visit.waitForURL(/\/sample\/shoes\?click=/);
    clickId = new URL(visit.url()).searchParams.get('click') ?? '';
    expect(clickId).toMatch(/^[0-9a-f-]{36}$/);
    await page.goto(`/clicks/${clickId}`);
    await page.locator('.outcome.charged').first().waitFor();
    await page.goto(campaignPath);
    await expect.poll(() => statOf(page, campaigns.spend.total).textContent()).toBe('1.25EUR');
    const meter = page.getByRole('meter', { name: campaigns.spend.meterTotal });
    expect(await meter.getAttribute('aria-valuenow')).toBe('63');
    await page.goto(advertiserPath);
    await expect.poll(() => statOf(page, advertisers.budget.left).textContent()).toBe('3.75EUR');
  });

  it('says what a pause does, pauses, and resumes', async () => {
    const page = await browser.open(campaignPath);
    const words = texts.statusChange.campaign;
    for (const [target, status] of [
      ['paused', texts.status.paused],
      ['active', texts.status.active],
    ] as const) {
      await page.getByText(controls.actions).first().click();
      await button(page, words[target].action).click();
      await dialogOf(page).getByText(words[target].about).waitFor();
      await submit(page, words[target].action);
      await page.locator('h1 + .tag').getByText(String(status), { exact: true }).waitFor();
    }
    await page.getByText(texts.history.title).waitFor();
  });

  it('keeps what was entered when the API refuses it', async () => {
    browser.allow(/^400 POST \/v1\/campaigns$/);
    const page = await browser.open(advertiserPath);
    await button(page, campaigns.create.action).first().click();
    await fill(page, { [campaigns.fields.name]: 'Spring', [campaigns.fields.cap]: 'much' });
    await dialogOf(page).getByRole('button', { name: campaigns.create.submit }).click();
    await dialogOf(page).locator('.wrong').first().waitFor();
    expect(await dialogOf(page).locator('[aria-invalid=true]').first().inputValue()).toBe('much');
  });

  it('has a statement whose sums are right, and prints it without the navigation', async () => {
    const id = advertiserPath.split('/').at(-1);
    const page = await browser.open(`/statements?advertiser=${id}`);
    const summary = page.getByRole('region', { name: statements.summary, exact: true });
    await summary.waitFor();
    const amounts = await summary.locator('td.number').allTextContents();
    expect(amounts).toEqual(['0.00EUR', '5.00EUR', '-1.25EUR', '0.00EUR', '3.75EUR']);
    expect(await page.getByRole('region', { name: statements.charges }).textContent()).toContain('1.25EUR');
    await page.emulateMedia({ media: 'print' });
    for (const hidden of ['nav', '.top', '.filters', '.actions'])
      expect(await page.locator(hidden).first().isVisible(), hidden).toBe(false);
    expect(await summary.isVisible()).toBe(true);
  });

  it('has a report of the click, as a chart, as a table and as CSV', async () => {
    const id = advertiserPath.split('/').at(-1);
    const page = await browser.open(`/reports?advertiser=${id}&by=campaign`);
    const table = page.getByRole('region', { name: reports.table, exact: true });
    await table.getByText(CAMPAIGN).waitFor();
    expect(await table.locator('tfoot').textContent()).toContain('1.25');
    await page.getByRole('img', { name: /./ }).first().waitFor();
    const saved = page.waitForEvent('download');
    await page.getByText(reports.csv).click();
    const stream = await (await saved).createReadStream();
    const csv = (await stream.toArray()).join('');
    expect(csv).toContain('1.25');
  });
});
