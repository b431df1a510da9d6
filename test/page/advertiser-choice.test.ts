import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { addKey, post } from './api.ts';
import { skipped, testBrowser } from './browser.ts';

const { reports, statements, advertisers } = texts;

/** Longer than it takes to type a name and to press Enter, in ms. */
const SLOW_MS = 500;

const chosenOf = (page: Page) => new URL(page.url()).searchParams.get('advertiser');
const pickerOf = (page: Page) => page.getByLabel(reports.advertiser, { exact: true }).first();
const wrongOf = (page: Page) => page.locator('.wrong').first();

async function addAdvertiser(name: string): Promise<string> {
  const { id } = await post('/v1/advertisers', { name, currency: 'EUR', timeZone: 'UTC' });
  return String(id);
}

/** As somebody who pastes a name and presses Enter at once. */
async function enter(page: Page, text: string): Promise<void> {
  await pickerOf(page).fill(text);
  await pickerOf(page).press('Enter');
}

describe.skipIf(skipped)('the choice of an advertiser', () => {
  const browser = testBrowser();
  let own = '';
  let twins: readonly string[] = [];
  beforeAll(async () => {
    own = await addAdvertiser('Sole trader');
    await addAdvertiser('Sole trader of shoes');
    twins = [await addAdvertiser('Twin'), await addAdvertiser('Twin')];
  });

  it('takes a name that is pasted, before the names are loaded', async () => {
    const page = await browser.open('/reports');
    await page.route(/\/v1\/advertisers\?/, async (route) => {
      await new Promise((done) => setTimeout(done, SLOW_MS));
      await route.continue();
    });
    await enter(page, 'sole trader');
    await expect.poll(() => chosenOf(page)).toBe(own);
    await expect.poll(() => pickerOf(page).inputValue()).toBe(`Sole trader (${own})`);
  });

  it('says that it does not know a name, and changes nothing', async () => {
    const page = await browser.open(`/reports?advertiser=${own}`);
    await expect.poll(() => pickerOf(page).inputValue()).toBe(`Sole trader (${own})`);
    await enter(page, 'Nobody');
    await wrongOf(page).waitFor();
    expect(await wrongOf(page).textContent()).toContain('“Nobody”');
    await pickerOf(page).blur();
    expect(await pickerOf(page).inputValue()).toBe('Nobody');
    expect(chosenOf(page)).toBe(own);
    await pickerOf(page).fill('');
    await expect.poll(() => chosenOf(page)).toBeNull();
    expect(await wrongOf(page).count()).toBe(0);
  });

  it('says how to choose one of two with the same name', async () => {
    const page = await browser.open('/reports');
    await enter(page, 'Twin');
    await wrongOf(page).waitFor();
    for (const id of twins) expect(await wrongOf(page).textContent()).toContain(`Twin (${id})`);
    expect(chosenOf(page)).toBeNull();
    await enter(page, `Twin (${twins[1]})`);
    await expect.poll(() => chosenOf(page)).toBe(twins[1]);
    expect(await wrongOf(page).count()).toBe(0);
  });

  it('in an address says that there is no such advertiser, unknown or somebody else’s', async () => {
    browser.allow(/^40[04] GET \/v1\/advertisers\//);
    const { key } = await addKey({ role: 'viewer', advertiserIds: [Number(twins[0])] });
    const page = await browser.open('/', { key });
    for (const id of [own, '999999', '99999999999', 'x'])
      for (const path of ['/reports', '/statements']) {
        await page.goto(`${path}?advertiser=${id}`);
        await page.getByText('No such advertiser').waitFor();
        expect(await page.locator('body').textContent()).not.toContain('Sole');
        await page.locator('main a').getByText('without').click();
        await expect.poll(() => chosenOf(page)).toBeNull();
        const shown = path === '/reports' ? reports.table : statements.summary;
        await page.getByText(shown).first().waitFor();
      }
  });

  it('is easier if a new advertiser has a name of its own', async () => {
    const page = await browser.open('/advertisers');
    await page.getByRole('button', { name: advertisers.create.action }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel(advertisers.create.name, { exact: true }).fill('twin');
    await dialog.getByText('Another advertiser has this name').waitFor();
    await dialog.getByLabel(advertisers.create.name, { exact: true }).fill('twins');
    await dialog.getByText('Another advertiser has this name').waitFor({ state: 'detached' });
  });
});
