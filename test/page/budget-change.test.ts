import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { addAccount, post, send, type TestAccount } from './api.ts';
import { skipped, testBrowser } from './browser.ts';

const { topUp, adjust } = texts.advertisers;
const dialogOf = (page: Page) => page.getByRole('dialog');
const amountOf = (page: Page) => dialogOf(page).getByLabel(topUp.amount);
const wrongOf = (page: Page) => dialogOf(page).locator('.wrong').first();

describe.skipIf(skipped)('a change of a budget', () => {
  const browser = testBrowser();
  let account: TestAccount;
  beforeAll(async () => {
    account = await addAccount({ name: 'Nord Mode', budget: '10.00', price: '1.00' });
  });

  it('is shown before it is booked', async () => {
    const page = await browser.open(`/advertisers/${account.advertiserId}`);
    await page.getByRole('button', { name: topUp.action, exact: true }).first().click();
    await amountOf(page).fill('1');
    await dialogOf(page).getByText('Adds 1.00 EUR to the budget of Nord Mode.').waitFor();
    await page.keyboard.press('Escape');
    await dialogOf(page).getByRole('button', { name: texts.controls.discard.discard }).click();
    await page.getByText(texts.controls.actions).first().click();
    await page.getByRole('button', { name: adjust.action, exact: true }).click();
    await amountOf(page).fill('-1.000');
    await dialogOf(page).getByText('Takes 1.00 EUR away from the budget of Nord Mode.').waitFor();
    await amountOf(page).fill('1.000');
    await dialogOf(page).getByText('Adds 1.00 EUR to the budget of Nord Mode.').waitFor();
  });

  it('as a top-up has no more decimals than its currency, and a point', async () => {
    browser.allow(/^400 POST /);
    const page = await browser.open(`/advertisers/${account.advertiserId}`);
    await page.getByRole('button', { name: topUp.action, exact: true }).first().click();
    await amountOf(page).fill('1.000');
    await amountOf(page).press('Enter');
    await wrongOf(page).waitFor();
    expect(await wrongOf(page).textContent()).toBe(
      'Amounts in EUR have at most 2 decimals, after a point: 12.50. A thousand is 1000.',
    );
    await amountOf(page).fill('100,00');
    await amountOf(page).press('Enter');
    await expect.poll(() => wrongOf(page).textContent()).toContain('with a point');
    expect((await send('GET', `/v1/advertisers/${account.advertiserId}`)).body.budget).toBe('10.00');
    const terms = { name: 'Of yen', currency: 'JPY', timeZone: 'Asia/Tokyo' };
    const { id } = await post('/v1/advertisers', terms);
    await page.goto(`/advertisers/${id}`);
    await page.getByRole('button', { name: topUp.action, exact: true }).first().click();
    await amountOf(page).fill('1.000');
    await amountOf(page).press('Enter');
    await wrongOf(page).waitFor();
    expect(await wrongOf(page).textContent()).toBe('Amounts in JPY have no decimals. A thousand is 1000.');
  });

  it('as an adjustment has a reference that is no payment', async () => {
    const page = await browser.open(`/advertisers/${account.advertiserId}`);
    await page.getByText(texts.controls.actions).first().click();
    await page.getByRole('button', { name: adjust.action, exact: true }).click();
    const hint = dialogOf(page).locator('.hint').last();
    await hint.waitFor();
    expect(await hint.textContent()).toContain('Why the budget is adjusted');
  });
});
