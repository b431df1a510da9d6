import { describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { skipped, testBrowser } from './browser.ts';

const words = texts.try;

describe.skipIf(skipped)('the view "Try it"', () => {
  const browser = testBrowser();

  it('sends sample clicks, shows how far it is, and says what it did', async () => {
    const page = await browser.open('/');
    await page.getByRole('link', { name: texts.navigation.try }).click();
    await page.getByLabel(words.rate, { exact: true }).fill('50');
    await page.getByLabel(words.seconds, { exact: true }).fill('3');
    await page.getByLabel(words.spike).uncheck();
    await page.getByRole('button', { name: words.start }).click();
    await page.getByRole('button', { name: words.stop }).waitFor();
    const result = page.getByRole('status', { name: words.done });
    await result.waitFor();
    expect(await result.textContent()).toMatch(
      /The console sent \d+ clicks.*; \d+ were recorded and redirected\./,
    );
    await result.locator('.outcome.charged').waitFor();
    await result.getByText(words.balance).waitFor();
    await page.getByRole('button', { name: words.start }).waitFor();
  });

  it('leads to the events that webhooks are told of, and to what they are told', async () => {
    const { types } = texts.operations.webhooks;
    const page = await browser.open('/operations/webhooks');
    const row = page
      .getByRole('row')
      .filter({ hasText: types['budget.exhausted'] ?? '' })
      .first();
    await row.getByRole('link', { name: 'Sample Travel' }).waitFor();
    await row.getByRole('button', { name: texts.operations.webhookEvents.look }).click();
    await page.getByRole('dialog').getByText('"type": "budget.exhausted"').waitFor();
  });

  it('tops the exhausted samples up', async () => {
    // The run before has exhausted the budget of 10 USD of the ad at 1.50 USD a click.
    const page = await browser.open('/try');
    await page.getByRole('button', { name: words.topUp }).click();
    await page
      .getByText(/^Topped up: Sample Coffee 100\.00 USD, Sample Shoes 50\.00 USD, Sample Travel 10\.00 USD$/)
      .waitFor();
    await page.getByText(words.topUpTitle).waitFor({ state: 'detached' });
  });
});
