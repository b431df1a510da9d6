import { describe, expect, it } from 'vitest';
import { texts } from '../../console/page/texts.ts';
import { clickLink } from '../support/clicks.ts';
import { BROWSER } from '../support/stack.ts';
import { until } from '../support/until.ts';
import { addAccount, addKey, post, send } from './api.ts';
import { skipped, testBrowser } from './browser.ts';
import { checkLooks, settle } from './looks.ts';

const { list } = texts.clicks;
const { confirm, result } = texts.credits;

describe.skipIf(skipped)('the list of clicks', () => {
  const browser = testBrowser();

  it('finds the clicks of a publisher and leads to their credit', { timeout: 120_000 }, async () => {
    const account = await addAccount({
      name: 'Listed',
      budget: '10.00',
      price: '0.25',
      adName: 'Skyscraper',
    });
    const { advertiserId, adId } = account;
    const { links } = await post('/v1/links', { adId, count: 3, publisher: 'doubtful' });
    const ids: string[] = [];
    for (const link of links) ids.push((await clickLink(link)).clickId ?? '');
    const kept = (await clickLink(account.link, { 'user-agent': `${BROWSER} Edg/2.0.0.0` })).clickId ?? '';
    for (const id of [...ids, kept])
      await until(
        'the click in the ledger',
        async () => (await send('GET', `/v1/clicks/${id}`)).body.outcome === 'charged',
      );
    const page = await browser.open('/clicks?publisher=doubtful');
    const rows = page.getByRole('region', { name: list.title, exact: true }).locator('tbody tr');
    await expect.poll(() => rows.count()).toBe(3);
    await rows.first().getByText('Skyscraper', { exact: false }).waitFor();
    await page.getByText(list.chooseAdvertiser).waitFor();
    await page.goto(`/clicks?publisher=doubtful&advertiser=${advertiserId}`);
    await expect.poll(() => rows.count()).toBe(3);
    await settle(page);
    await checkLooks(page, 'click-list');
    await page.setViewportSize({ width: 1360, height: 900 });
    await page.getByRole('button', { name: list.credit }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText(confirm.question(3, '3', 'Listed')).waitFor();
    await dialog.getByRole('button', { name: confirm.submit(3, '3'), exact: true }).click();
    await dialog.getByText(result.done).waitFor();
    await dialog.getByRole('button', { name: texts.controls.close }).last().click();
    await expect.poll(() => rows.getByText(list.credited).count()).toBe(3);
    expect((await send('GET', `/v1/clicks/${kept}`)).body.credited).toBe('0.00');
    expect((await send('GET', `/v1/advertisers/${advertiserId}`)).body.remaining).toBe('9.75');
    // Nothing is left to credit.
    await page.getByRole('button', { name: list.credit }).click();
    await page.getByText(list.noCharges).waitFor();
  });

  it('limits to times of a day in the time zone of the advertiser, and offers a viewer no credits', async () => {
    const { advertiserId, link } = await addAccount({ name: 'Night', budget: '10.00', price: '0.25' });
    await clickLink(link);
    const { key } = await addKey({ role: 'viewer', advertiserIds: [advertiserId] });
    const page = await browser.open(`/clicks?advertiser=${advertiserId}&day=2026-01-01&from=14:00`, { key });
    const request = page.waitForRequest((sent) => {
      const { searchParams } = new URL(sent.url());
      return (
        searchParams.get('since') === '2026-01-01T13:00:00.000Z' &&
        searchParams.get('until') === '2026-01-01T14:00:00.000Z'
      );
    });
    await page.getByLabel(list.to, { exact: true }).fill('15:00');
    await request;
    await page.getByText(list.empty).waitFor();
    await page.goto(`/clicks?advertiser=${advertiserId}`);
    await page.getByRole('region', { name: list.title, exact: true }).locator('tbody tr').first().waitFor();
    expect(await page.getByRole('button', { name: list.credit }).count()).toBe(0);
  });

  it('requests the clicks after the last key of a publisher, not at each key', async () => {
    const page = await browser.open('/clicks');
    await page
      .getByRole('region', { name: list.title, exact: true })
      .or(page.getByText(list.empty))
      .waitFor();
    const publishers: (string | null)[] = [];
    page.on('request', (sent) => {
      const { pathname, searchParams } = new URL(sent.url());
      if (pathname === '/v1/clicks') publishers.push(searchParams.get('publisher'));
    });
    await page.getByLabel(list.publisher, { exact: true }).pressSequentially('slow-typist', { delay: 20 });
    await expect.poll(() => publishers.at(-1)).toBe('slow-typist');
    expect(publishers).toEqual(['slow-typist']);
  });

  it('has a choice of the ad by its name, or by its id if it has none', async () => {
    const own = { name: 'Chosen', budget: '10.00', price: '0.25' };
    const { advertiserId, adId, campaignId } = await addAccount({ ...own, adName: 'Half page' });
    await addAccount({ ...own, name: 'Other', adName: 'Half page of another' });
    const terms = { campaignId, price: '0.25', urlTemplate: 'https://example.com/' };
    const { id: nameless } = await post('/v1/ads', terms);
    const page = await browser.open(`/clicks?advertiser=${advertiserId}`);
    const field = page.getByLabel(list.ad, { exact: true });
    const enter = async (text: string) => {
      await field.fill(text);
      await field.press('Enter');
    };
    const chosen = () => new URL(page.url()).searchParams.get('ad');
    await enter('half');
    await expect.poll(chosen).toBe(String(adId));
    await expect.poll(() => field.inputValue()).toBe(texts.ads.name(adId, 'Half page'));
    await enter('Nothing');
    await page.getByText(texts.ads.picker.unknown('Nothing'), { exact: false }).waitFor();
    expect(chosen()).toBe(String(adId));
    await enter(String(nameless));
    await expect.poll(chosen).toBe(String(nameless));
    await page.reload();
    await expect.poll(() => field.inputValue()).toBe(texts.ads.name(nameless, null));
    // The ad is one of the advertiser.
    const advertiser = page.getByLabel(list.advertiser, { exact: true });
    await expect.poll(() => advertiser.inputValue()).toBe(`Chosen (${advertiserId})`);
    await advertiser.fill('');
    await expect.poll(chosen).toBeNull();
  });

  it('stops after some pages of a day with other clicks, and searches on at a click on the button', async () => {
    const { advertiserId } = await addAccount({ name: 'Rare', budget: '10.00', price: '0.25' });
    const page = await browser.open(`/advertisers/${advertiserId}`);
    let requests = 0;
    await page.route('**/v1/clicks?*', (route) => {
      requests += 1;
      const nextCursor = requests < 45 ? `page${requests}` : null;
      return route.fulfill({ json: { items: [], nextCursor } });
    });
    await page.goto(`/clicks?advertiser=${advertiserId}&publisher=rare`);
    await page.getByText(list.emptySoFar).waitFor();
    expect(requests).toBe(20);
    await page.getByRole('button', { name: list.searchOn }).click();
    await expect.poll(() => requests).toBe(40);
    await page.getByText(list.emptySoFar).waitFor();
    await page.getByRole('button', { name: list.searchOn }).click();
    await page.getByText(list.empty).waitFor();
    expect(requests).toBe(45);
  });
});
