import { text } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { parse } from 'csv-parse/sync';
import type { Locator, Page, Request } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { texts } from '../../console/page/texts.ts';
import { clickLink } from '../support/clicks.ts';
import { until } from '../support/until.ts';
import { addAccount, addKey, post, send, type TestAccount } from './api.ts';
import { pageRun, skipped, testBrowser } from './browser.ts';
import { checkLooks } from './looks.ts';

const { action, list, confirm, sending, result } = texts.credits;
const DESK = { width: 1440, height: 900 };
const CREDITS = '**/v1/credits';

const dialogOf = (page: Page) => page.getByRole('dialog');
const press = (page: Page, name: string) => dialogOf(page).getByRole('button', { name, exact: true }).click();
const said = (page: Page, words: string) => dialogOf(page).getByText(words).first().waitFor();

/** Opens the dialog on the page of an advertiser. */
async function openDialog(page: Page): Promise<Locator> {
  await page.getByText(texts.controls.actions).first().click();
  await page.getByRole('button', { name: action, exact: true }).click();
  await dialogOf(page).waitFor();
  return dialogOf(page);
}

/** Gives the dialog a file. */
async function choose(page: Page, name: string, content: string | Buffer): Promise<void> {
  const file = { name, mimeType: 'text/plain', buffer: Buffer.from(content) };
  await dialogOf(page).getByLabel(list.file, { exact: true }).setInputFiles(file);
  await press(page, list.submit);
}

/** The value of a number of the dialog, such as `3`, and the line below it. */
async function statOf(page: Page, label: string): Promise<readonly [string | null, string | null]> {
  const stat = dialogOf(page)
    .locator('.stat')
    .filter({ has: page.getByText(label, { exact: true }) });
  return [
    await stat.locator('dd').first().textContent(),
    (await stat.locator('dd.sub').textContent()) || null,
  ];
}

/** The requests for credits that a page has sent. */
function creditsSent(page: Page): Request[] {
  const requests: Request[] = [];
  page.on('request', (request) => {
    if (request.url().endsWith('/v1/credits')) requests.push(request);
  });
  return requests;
}

/** Makes charged clicks of an account, by links of one click each. */
async function charge({ adId }: TestAccount, count: number): Promise<string[]> {
  const { links } = await post('/v1/links', { adId, count, publisher: 'news' });
  const ids: string[] = [];
  for (const link of links) ids.push((await clickLink(link)).clickId ?? '');
  for (const id of ids)
    await until(
      'the click in the ledger',
      async () => (await send('GET', `/v1/clicks/${id}`)).body.outcome === 'charged',
    );
  return ids;
}

async function creditedOf(clickId: string): Promise<number> {
  return Number((await send('GET', `/v1/clicks/${clickId}`)).body.credited);
}

/** The export of an advertiser as CSV, once it has that many rows. */
async function exportOf({ advertiserId }: TestAccount, rows: number): Promise<string> {
  const { stack } = pageRun();
  const url = `${stack.consoleUrl}/v1/exports/clicks?since=2020-01-01T00:00:00Z&advertiserId=${advertiserId}&format=csv`;
  let csv = '';
  await until('the rows of the export', async () => {
    csv = await (await fetch(url, { headers: { authorization: `Bearer ${stack.adminKey}` } })).text();
    return csv.trim().split('\n').length === rows + 1;
  });
  return csv;
}

describe.skipIf(skipped)('the credit of many clicks', () => {
  const browser = testBrowser();
  let own: TestAccount;
  let other: TestAccount;
  beforeAll(async () => {
    own = await addAccount({ name: 'Southern Tea', budget: '100.00', price: '0.40' });
    other = await addAccount({ name: 'Foreign Tea', budget: '100.00', price: '0.40' });
  });
  const openOwn = () => browser.open(`/advertisers/${own.advertiserId}`);

  it('names the line of a list that is wrong, and sends nothing', async () => {
    const page = await openOwn();
    const sent = creditsSent(page);
    await openDialog(page);
    await press(page, list.submit);
    await said(page, list.none);
    await choose(page, 'clicks.txt', `${uuidV7()}\n\n4711\n`);
    await said(page, list.wrong(3, '4711'));
    await checkLooks(page, 'credits-wrong');
    await page.setViewportSize(DESK);
    await choose(page, 'clicks.xlsx', Buffer.from([0x50, 0x4b, 3, 4, 0, 0, 0xff]));
    await said(page, list.workbook);
    await choose(page, 'clicks.txt.gz', gzipSync(`${uuidV7()}\n`).subarray(0, 30));
    await said(page, list.damaged);
    await choose(page, 'clicks.txt', Buffer.from([0x61, 0x0a, 0xff, 0xff]));
    await said(page, list.notText);
    await choose(page, 'clicks.csv', `clickId,outcome\n${uuidV7()},invalid\n`);
    await said(page, list.noCharges('1'));
    await press(page, list.removeFile);
    await dialogOf(page).getByLabel(list.pasted).fill(`${uuidV7()}\nx,y`);
    await press(page, list.submit);
    await said(page, list.wrong(2, 'x,y'));
    expect(sent).toHaveLength(0);
  });

  it('asks, credits the charges of an export in requests of 1000, and says what was refused', {
    timeout: 90_000,
  }, async () => {
    const ids = await charge(own, 3);
    const robot = (await clickLink(own.link, { 'user-agent': 'Googlebot/2.1' })).clickId ?? '';
    const [foreign = ''] = await charge(other, 1);
    await until('the robot in the ledger', async () => {
      return (await send('GET', `/v1/clicks/${robot}`)).body.outcome === 'invalid';
    });
    const exported = await exportOf(own, 4);
    const [header = '', ...rows] = exported.trim().split('\n');
    const cells = header.split(',');
    const rowOf = (id: string) =>
      cells.map((name) => ({ clickId: id, outcome: 'charged' })[name] ?? '').join(',');
    const unknown = Array.from({ length: 1_200 }, () => uuidV7());
    const more = [foreign, robot, ...unknown, ids[0] ?? ''].map(rowOf);
    const page = await openOwn();
    const sent = creditsSent(page);
    await openDialog(page);
    await choose(page, 'export.csv.gz', gzipSync([header, ...rows, ...more].join('\r\n')));

    await said(page, confirm.question(1_205, '1,205', 'Southern Tea'));
    expect(await statOf(page, confirm.passedOver)).toEqual(['1', confirm.passedOverSub]);
    expect(await statOf(page, confirm.repeated)).toEqual(['1', confirm.repeatedSub]);
    await checkLooks(page, 'credits-question');
    await page.setViewportSize(DESK);
    expect(sent).toHaveLength(0);
    expect(await creditedOf(ids[0] ?? '')).toBe(0);
    await press(page, confirm.back);
    await press(page, list.submit);
    await press(page, confirm.submit(1_205, '1,205'));

    await said(page, result.doneRefused(1_202, '1,202'));
    expect(await statOf(page, result.credited)).toEqual(['3', result.creditedSub]);
    expect(await statOf(page, result.givenBack)).toEqual(['1.20EUR', result.givenBackSub]);
    expect(await statOf(page, result.already)).toEqual(['0', result.alreadySub]);
    expect(await statOf(page, result.refused)).toEqual(['1,202', result.refusedSub]);
    for (const id of ids) expect(await creditedOf(id)).toBe(0.4);
    expect(await creditedOf(foreign)).toBe(0);
    const bodies = sent.map((request) => request.postDataJSON());
    expect(bodies.map(({ clickIds }) => clickIds.length)).toEqual([1_000, 205]);
    expect(bodies.map(({ advertiserId }) => advertiserId)).toEqual([own.advertiserId, own.advertiserId]);
    expect(new Set(sent.map((request) => request.headers()['idempotency-key'])).size).toBe(2);
    const lines = dialogOf(page).locator('tbody tr');
    expect(await lines.locator('td:nth-child(-n+2)').allTextContents()).toEqual([
      ...[result.reasons.unknown, '1,200', 'Not charged: Invalid, bot', '1'],
      ...[result.reasons.other_advertiser, '1'],
    ]);
    expect(await lines.nth(2).locator('a').allTextContents()).toEqual([foreign]);
    await checkLooks(page, 'credits-result');
    await page.setViewportSize(DESK);

    const download = page.waitForEvent('download');
    await press(page, result.csv);
    const saved: Record<string, string>[] = parse(await text(await (await download).createReadStream()), {
      columns: true,
    });
    expect(saved).toHaveLength(1_202);
    expect(saved.find(({ clickId }) => clickId === robot)).toEqual({
      ...{ clickId: robot, result: 'not_charged', advertiserId: String(own.advertiserId) },
      ...{ outcome: 'invalid', reason: 'bot' },
    });
    expect(new Set(saved.map(({ clickId }) => clickId))).toEqual(new Set([foreign, robot, ...unknown]));
    // The page behind has the new entries.
    await dialogOf(page).getByRole('button', { name: texts.controls.close }).last().click();
    await page
      .getByRole('link', { name: ids[0] ?? '', exact: true })
      .first()
      .waitFor();
  });

  it('counts a click once whose answer was lost, also when the console is away for longer', async () => {
    browser.allow(/^net::ERR_FAILED POST \/v1\/credits$/);
    const [clickId = ''] = await charge(own, 1);
    const page = await openOwn();
    const keys: (string | undefined)[] = [];
    await page.route(CREDITS, async (route) => {
      keys.push(route.request().headers()['idempotency-key']);
      if (keys.length === 1) await route.fetch();
      if (keys.length <= 3) await route.abort();
      else await route.continue();
    });
    await openDialog(page);
    await dialogOf(page).getByLabel(list.pasted).fill(clickId);
    await press(page, list.submit);
    await press(page, confirm.submit(1, '1'));
    await said(page, sending.retrying(texts.errors.unreachable));
    await said(page, result.done);
    expect(await statOf(page, result.credited)).toEqual(['1', result.creditedSub]);
    expect(await statOf(page, result.givenBack)).toEqual(['0.40EUR', result.givenBackSub]);
    expect(await statOf(page, result.already)).toEqual(['0', result.alreadySub]);
    expect(keys).toHaveLength(4);
    expect(new Set(keys).size).toBe(1);
  });

  it('stops after the clicks under way, and continues with those that are left', async () => {
    const ids = await charge(own, 1);
    const lines = [...ids, ...Array.from({ length: 2_499 }, () => uuidV7())];
    const page = await openOwn();
    const sent = creditsSent(page);
    const answer = Promise.withResolvers<void>();
    await page.route(CREDITS, async (route) => {
      await answer.promise;
      await route.continue();
    });
    await openDialog(page);
    await choose(page, 'clicks.txt', lines.join('\n'));
    await press(page, confirm.submit(2_500, '2,500'));
    await dialogOf(page).getByRole('progressbar', { name: sending.meter }).waitFor();
    await checkLooks(page, 'credits-sending');
    await page.setViewportSize(DESK);
    // To close the dialog would leave it open what became of the clicks.
    await press(page, texts.controls.close);
    await said(page, sending.stopping);
    answer.resolve();
    await said(page, result.stopped('1,500'));
    expect(await statOf(page, result.credited)).toEqual(['1', result.creditedSub]);
    expect(await statOf(page, result.givenBack)).toEqual(['0.40EUR', result.givenBackSub]);
    expect(sent).toHaveLength(1);
    await press(page, result.continue);
    await said(page, result.doneRefused(2_499, '2,499'));
    expect(await statOf(page, result.refused)).toEqual(['2,499', result.refusedSub]);
    expect(sent).toHaveLength(3);
    expect(sent.flatMap((request) => request.postDataJSON().clickIds)).toEqual(lines);
  });

  it('is for keys that may credit clicks', async () => {
    for (const role of ['finance', 'manager', 'viewer'] as const) {
      const { key } = await addKey({ role });
      const page = await browser.open(`/advertisers/${own.advertiserId}`, { key });
      await page.getByRole('heading', { level: 1, name: own.name }).waitFor();
      const button = page.getByText(action, { exact: true });
      expect(await button.count(), role).toBe(role === 'finance' ? 1 : 0);
    }
  });
});
