import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { addAccount } from './api.ts';
import { skipped, testBrowser } from './browser.ts';

/** Presses of Tab after which a view has been walked through. */
const TABS_MAX = 60;

const focused = (page: Page) =>
  page.evaluate<string>('document.activeElement.textContent || document.activeElement.tagName');

/** Presses Tab until the element of this text has the focus. Returns the texts of those before. */
async function tabTo(page: Page, text: string): Promise<readonly string[]> {
  const passed: string[] = [];
  for (let count = 0; count < TABS_MAX; count += 1) {
    await page.keyboard.press('Tab');
    const now = await focused(page);
    if (now === text) return passed;
    passed.push(now);
  }
  throw new Error(`Expected "${text}" within ${TABS_MAX} presses of Tab, got ${passed.join(' | ')}`);
}

describe.skipIf(skipped)('the keyboard alone', () => {
  const browser = testBrowser();

  it('reaches the content and the main action, fills a dialog, and leaves it', async () => {
    const page = await browser.open('/');
    await page.getByRole('heading', { level: 1 }).waitFor();
    expect(await tabTo(page, texts.navigation.skip)).toEqual([]);
    await tabTo(page, texts.navigation.advertisers);
    await page.keyboard.press('Enter');
    const { create, title } = texts.advertisers;
    await page.getByRole('heading', { name: title, level: 1 }).waitFor();
    await tabTo(page, create.action);
    const outline = await page.evaluate<string>('getComputedStyle(document.activeElement).outlineStyle');
    expect(outline).not.toBe('none');
    await page.keyboard.press('Enter');
    const dialog = page.getByRole('dialog', { name: create.title });
    await dialog.waitFor();
    await page.keyboard.type('Typed');
    expect(await dialog.getByLabel(create.name, { exact: true }).inputValue()).toBe('Typed');
    for (let count = 0; count < 20; count += 1) {
      await page.keyboard.press('Tab');
      // The browser's own controls come after the last element of a dialog; there the body has the focus.
      const isInside =
        "document.activeElement.closest('dialog') !== null || document.activeElement === document.body";
      expect(await page.evaluate<boolean>(isInside)).toBe(true);
    }
    await page.keyboard.press('Escape');
    await tabTo(page, texts.controls.discard.discard);
    await page.keyboard.press('Enter');
    await dialog.waitFor({ state: 'detached' });
    expect(await focused(page)).toBe(create.action);
  });

  it('keeps what was entered until it is discarded, however often Escape is pressed', async () => {
    const page = await browser.open('/advertisers');
    const { create } = texts.advertisers;
    await page.getByRole('button', { name: create.action }).first().click();
    const dialog = page.getByRole('dialog', { name: create.title });
    await dialog.waitFor();
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('button', { name: create.action }).first().click();
    const name = dialog.getByLabel(create.name, { exact: true });
    await page.keyboard.type('Typed');
    for (let times = 0; times < 3; times += 1) {
      await page.keyboard.press('Escape');
      expect(await focused(page)).toBe(texts.controls.discard.keep);
      await page.keyboard.press('Escape');
      await page.getByText(texts.controls.discard.question).waitFor({ state: 'detached' });
      await name.and(page.locator(':focus')).waitFor();
    }
    expect(await name.inputValue()).toBe('Typed');
    await dialog.getByRole('button', { name: texts.controls.close }).click();
    await dialog.getByRole('button', { name: texts.controls.discard.discard }).click();
    await dialog.waitFor({ state: 'detached' });
  });

  it('stays in a form whose fields are wrong: it goes to the first of them', async () => {
    browser.allow(/^400 POST \/v1\/ads$/);
    const { campaignId } = await addAccount({ name: 'By keyboard', budget: '10.00', price: '0.50' });
    const page = await browser.open(`/campaigns/${campaignId}`);
    await page.getByRole('button', { name: texts.ads.create.action }).first().click();
    await page.getByRole('dialog').waitFor();
    await tabTo(page, texts.ads.create.submit);
    await page.keyboard.press('Space');
    await page.getByText(texts.errors.fields(2)).waitFor();
    const price = page.getByLabel(texts.ads.fields.price, { exact: true });
    await price.and(page.locator(':focus')).waitFor();
  });

  it('opens a menu and closes it by Escape', async () => {
    const page = await browser.open('/advertisers/1');
    await page.getByRole('heading', { level: 1 }).waitFor();
    await tabTo(page, `${texts.controls.actions} ▾`);
    await page.keyboard.press('Enter');
    const edit = page.getByRole('button', { name: texts.controls.edit, exact: true });
    await edit.waitFor();
    await page.keyboard.press('Tab');
    expect(await focused(page)).toBe(texts.controls.edit);
    await page.keyboard.press('Escape');
    await edit.waitFor({ state: 'hidden' });
    expect(await focused(page)).toBe(`${texts.controls.actions} ▾`);
  });
});
