import { join } from 'node:path';
import axe, { type AxeResults } from 'axe-core';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { pageRun } from './browser.ts';

const PHONE = { width: 390, height: 844 };

/** Waits until a view has loaded and its numbers are live. */
export async function settle(page: Page): Promise<void> {
  await page.getByRole('heading', { level: 1 }).waitFor();
  await page.locator('[data-connection=live]').waitFor();
  await expect.poll(() => page.locator('.skeleton').count()).toBe(0);
}

/** What axe finds that is serious or critical. `rules`: those to check; all by default. */
async function seriousFaults(page: Page, ...rules: readonly string[]): Promise<readonly string[]> {
  await page.evaluate(axe.source);
  const only = rules.length > 0 ? { runOnly: rules } : {};
  const options = JSON.stringify({ ...only, resultTypes: ['violations'] });
  const { violations } = await page.evaluate<AxeResults>(`axe.run(document, ${options})`);
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ target, any }) => `${id}: ${target} ${any[0]?.message ?? ''}`));
}

const isWiderThanItsWindow = (page: Page) =>
  page.evaluate<boolean>('document.documentElement.scrollWidth > window.innerWidth');

const save = (page: Page, name: string, look: string) =>
  page.screenshot({ path: join(pageRun().screenshotFolder, `${name}-${look}.png`) });

/** Checks a view in light, in dark, and on a phone, with a picture of each. */
export async function checkLooks(page: Page, name: string): Promise<void> {
  await save(page, name, 'light');
  expect.soft(await seriousFaults(page), 'axe, light').toEqual([]);
  await page.emulateMedia({ colorScheme: 'dark' });
  await save(page, name, 'dark');
  expect.soft(await seriousFaults(page, 'color-contrast'), 'axe, dark').toEqual([]);
  await page.emulateMedia({ colorScheme: 'light' });
  await page.setViewportSize(PHONE);
  await save(page, name, 'phone');
  expect.soft(await isWiderThanItsWindow(page), 'wider than a phone').toBe(false);
}
