import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { clickLink } from '../support/clicks.ts';
import { until } from '../support/until.ts';
import { addAccount, send, type TestAccount } from './api.ts';
import { skipped, testBrowser } from './browser.ts';

const { credit } = texts.advertisers;
const dialogOf = (page: Page) => page.getByRole('dialog');

/** Opens the dialog on the page of an advertiser, and sends the id of a click. */
async function find(page: Page, clickId: string): Promise<void> {
  await page.getByText(texts.controls.actions).first().click();
  await page.getByRole('button', { name: credit.action, exact: true }).click();
  const field = dialogOf(page).getByLabel(credit.click);
  await field.fill(clickId);
  await field.press('Enter');
}

const creditedOf = async (clickId: string): Promise<string> =>
  (await send('GET', `/v1/clicks/${clickId}`)).body.credited;

describe.skipIf(skipped)('the credit of a click', () => {
  const browser = testBrowser();
  let own: TestAccount;
  let other: TestAccount;
  let clickId = '';
  beforeAll(async () => {
    own = await addAccount({ name: 'Click owner', budget: '10.00', price: '0.40' });
    other = await addAccount({ name: 'No owner', budget: '10.00', price: '0.40' });
    clickId = (await clickLink(own.link)).clickId ?? '';
    await until(
      'the click in the ledger',
      async () => (await send('GET', `/v1/clicks/${clickId}`)).body.outcome === 'charged',
    );
  });

  it('is refused on the page of another advertiser', async () => {
    const page = await browser.open(`/advertisers/${other.advertiserId}`);
    await find(page, clickId);
    await dialogOf(page).getByText('This is a click of Click owner, not of No owner.').waitFor();
    expect(Number(await creditedOf(clickId))).toBe(0);
  });

  it('names the amount and the advertiser before it is booked, in the view of the click', async () => {
    const page = await browser.open(`/clicks/${clickId}`);
    await page.getByRole('button', { name: texts.clicks.credit.action }).click();
    await dialogOf(page).getByText('Click owner gets 0.40 EUR back').waitFor();
    expect(Number(await creditedOf(clickId))).toBe(0);
  });

  it('names the amount and the advertiser before it is booked, on the page of the advertiser', async () => {
    const page = await browser.open(`/advertisers/${own.advertiserId}`);
    await find(page, clickId);
    await dialogOf(page).getByText('Click owner gets 0.40 EUR back').waitFor();
    expect(Number(await creditedOf(clickId))).toBe(0);
    await dialogOf(page)
      .getByRole('button', { name: credit.submit('0.40 EUR'), exact: true })
      .click();
    await page.getByText(credit.done('0.40 EUR', 'Click owner')).waitFor();
    expect(Number(await creditedOf(clickId))).toBe(0.4);
    await find(page, clickId);
    await dialogOf(page).getByText(credit.repeated).waitFor();
  });
});
