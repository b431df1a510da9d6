import { describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { pageRun, skipped, testBrowser } from './browser.ts';

const { login, session } = texts;
/** Without a session the page asks once whether there is one. */
const NO_SESSION = /^401 GET \/v1\/session$/;

describe.skipIf(skipped)('a login', () => {
  const browser = testBrowser();

  it('by the link that npm start prints works once', async () => {
    const { stack } = pageRun();
    const [, path = ''] = /Console +http:\/\/[^/]+(\/#login=\S+)/.exec(stack.printed) ?? [];
    const page = await browser.open(path, { key: null });
    await page.getByRole('heading', { name: texts.live.title, level: 1 }).waitFor();
    expect(page.url()).toBe(`${stack.consoleUrl}/`);
    await page.reload();
    await page.getByRole('heading', { name: texts.live.title, level: 1 }).waitFor();

    browser.allow(/^401 POST \/v1\/session$/);
    browser.allow(NO_SESSION);
    const second = await browser.open(path, { key: null });
    await second.getByRole('alert').waitFor();
    expect(await second.getByRole('heading', { level: 1 }).textContent()).toBe(login.title);
    expect(second.url()).toBe(`${stack.consoleUrl}/`);
  });

  it('by a key shows the view of the address, and keeps a wrong key for correction', async () => {
    browser.allow(NO_SESSION);
    browser.allow(/^401 POST \/v1\/session$/);
    const page = await browser.open('/advertisers', { key: null });
    const key = page.getByLabel(login.key, { exact: true });
    await key.fill('tollway_wrong');
    await page.getByRole('button', { name: login.submit }).click();
    await page.getByRole('alert').waitFor();
    expect(await key.inputValue()).toBe('tollway_wrong');
    await key.fill(pageRun().stack.adminKey);
    await key.press('Enter');
    await page.getByRole('heading', { name: texts.advertisers.title, level: 1 }).waitFor();
  });

  it('ends when one logs out', async () => {
    browser.allow(NO_SESSION);
    const page = await browser.open('/');
    await page.getByLabel(session.menu).click();
    await page.getByRole('button', { name: session.logOut }).click();
    await page.getByRole('heading', { name: login.title }).waitFor();
    await page.reload();
    await page.getByRole('heading', { name: login.title }).waitFor();
    expect((await page.context().cookies()).map(({ value }) => value).join('')).toBe('');
  });
});
