import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { encodeChunk } from '../../brokers/postgres/chunk.ts';
import { createPool } from '../../common/postgres/postgres.ts';
import { texts } from '../../console/page/texts.ts';
import { clickKey, encodeClick, watermarkRecord } from '../../contract/click-event.ts';
import { clickEvent, TestSpool } from '../support/records.ts';
import { tollway } from '../support/run-script.ts';
import { until } from '../support/until.ts';
import { addAccount, destination, post, send } from './api.ts';
import { pageRun, skipped, testBrowser } from './browser.ts';

const { deadLetters, keys, webhooks } = texts.operations;

const dialogOf = (page: Page) => page.getByRole('dialog');
const countLetters = async (): Promise<number> => (await send('GET', '/v1/dead-letters')).body.items.length;

/** Runs a statement on the database of the stack. */
async function query(sql: string, values: readonly unknown[] = []) {
  const { databaseUrl } = JSON.parse((await tollway(pageRun().stack.env, 'status', '--json')).stdout);
  const pool = createPool(databaseUrl, 'test', 1, () => {});
  try {
    return await pool.query(sql, [...values]);
  } finally {
    await pool.end();
  }
}

/** Puts records into the broker. */
const publish = (...records: Parameters<typeof encodeChunk>[0]) =>
  query('insert into broker_chunk (record_count, payload) values ($1, $2)', [
    records.length,
    encodeChunk(records),
  ]);

describe.skipIf(skipped)('dead letters', () => {
  const browser = testBrowser();

  it('are looked at and discarded; one whose cause remains stays', async () => {
    const before = await countLetters();
    await publish({ key: null, value: Buffer.from('not a <b>click</b>') });
    await until('a dead letter', async () => (await countLetters()) > before);
    const page = await browser.open('/operations/dead-letters');
    const rows = page.getByRole('region', { name: deadLetters.title, exact: true }).locator('tbody tr');
    const row = rows.last();
    await row.waitFor();
    const act = (name: string) => row.getByRole('button', { name, exact: true }).click();
    const confirm = (name: string) => dialogOf(page).getByRole('button', { name, exact: true }).click();

    await act(deadLetters.look);
    await dialogOf(page).getByText('not a <b>click</b>').waitFor();
    await page.keyboard.press('Escape');
    await dialogOf(page).waitFor({ state: 'detached' });

    await act(deadLetters.redrive);
    await dialogOf(page).getByText(deadLetters.redriveLead).waitFor();
    await confirm(deadLetters.redrive);
    await page.getByText(deadLetters.redriven(String(texts.outcomes.rejected))).waitFor();
    expect(await countLetters()).toBe(before + 1);

    await act(deadLetters.discard);
    await dialogOf(page).getByText(deadLetters.discardLead).waitFor();
    await confirm(deadLetters.discard);
    await page.getByText(deadLetters.discarded).waitFor();
    await until('no dead letter', async () => (await countLetters()) === before);
  });

  it('are redriven once their cause is gone, and charged', async () => {
    const { advertiserId, campaignId } = await addAccount({
      name: 'Redriven',
      budget: '5.00',
      price: '1.00',
    });
    const { rows } = await query("select nextval(pg_get_serial_sequence('ad', 'id')) as id");
    // Other tests make ads meanwhile: none gets so far.
    const adId = Number(rows[0].id) + 1_000_000;
    const ad = { id: adId, campaignId, advertiserId, priceMicros: 1_000_000n };
    const spool = new TestSpool();
    const click = clickEvent({ ad });
    const { spoolId, sequence } = spool.next();
    const { key, value } = watermarkRecord(spoolId, 1);
    await publish(
      { key: clickKey(spoolId, sequence), value: Buffer.from(encodeClick(click)) },
      { key, value },
    );
    const page = await browser.open('/operations/dead-letters');
    await until('a dead letter', async () => {
      const { items } = (await send('GET', '/v1/dead-letters')).body;
      return items.some((letter: { clickId: string | null }) => letter.clickId === click.clickId);
    });
    await page.reload();
    const row = page.locator('tbody tr').filter({ hasText: click.clickId });
    await row.getByText(String(texts.reasons.unknown_ad)).waitFor();
    await row.getByText(texts.ads.id(adId)).waitFor();
    await row.getByText('Redriven', { exact: true }).waitFor();
    await page.setViewportSize({ width: 1360, height: 900 });
    const tops = await row
      .getByRole('button')
      .evaluateAll((buttons) => buttons.map((button) => button.getBoundingClientRect().top));
    expect(new Set(tops).size, 'buttons in one line').toBe(1);
    expect(await row.locator(`a[href="/ads/${adId}"]`).count()).toBe(0);
    // A phone does not show the column.
    await row.getByRole('button', { name: deadLetters.look }).click();
    await dialogOf(page).getByText(texts.ads.id(adId)).waitFor();
    await page.keyboard.press('Escape');
    await dialogOf(page).waitFor({ state: 'detached' });
    const made = await post('/v1/ads', { campaignId, price: '1.00', urlTemplate: destination() });
    await query(
      `insert into ad (id, campaign_id, advertiser_id, name, price_micros, url_template) overriding system value
       select $1, campaign_id, advertiser_id, name, price_micros, url_template from ad where id = $2`,
      [adId, made.id],
    );
    await row.getByRole('button', { name: deadLetters.redrive }).click();
    await dialogOf(page).getByRole('button', { name: deadLetters.redrive }).click();
    await page.getByText(deadLetters.redriven(String(texts.outcomes.charged))).waitFor();
    await row.waitFor({ state: 'detached' });
    expect((await send('GET', `/v1/advertisers/${advertiserId}`)).body.remaining).toBe('4.00');
  });
});

describe.skipIf(skipped)('a webhook', () => {
  const browser = testBrowser();

  it('is created for an advertiser that is chosen by its name', async () => {
    const { advertiserId, campaignId } = await addAccount({
      ...{ name: 'Of a webhook', budget: '1.00', price: '0.10', campaignName: 'Told of' },
    });
    const page = await browser.open('/operations/webhooks');
    await page.getByRole('button', { name: webhooks.create }).click();
    await dialogOf(page).getByText(webhooks.urlHint).waitFor();
    browser.allow(/^400 POST \/v1\/webhooks$/);
    await dialogOf(page).getByRole('button', { name: webhooks.create }).click();
    await dialogOf(page).getByText('Expected a URL such as https://example.com/tollway, got none').waitFor();
    await dialogOf(page).getByLabel(webhooks.url, { exact: true }).fill('https://example.com/by-name');
    const advertiser = dialogOf(page).getByLabel(webhooks.advertiser, { exact: true });
    await advertiser.fill('Of a web');
    await dialogOf(page).locator('datalist option').first().waitFor({ state: 'attached' });
    await advertiser.blur();
    await expect.poll(() => advertiser.inputValue()).toBe(`Of a webhook (${advertiserId})`);
    await dialogOf(page).getByRole('button', { name: webhooks.create }).click();
    await dialogOf(page).getByText(webhooks.secretLead).waitFor();
    const row = page.getByRole('row').filter({ hasText: 'https://example.com/by-name' });
    await row.getByText('Of a webhook').waitFor();
    const { items } = (await send('GET', '/v1/webhooks')).body;
    const webhook = items.find(({ url }: { url: string }) => url.endsWith('/by-name'));
    expect(webhook).toMatchObject({ advertiserId, advertiserName: 'Of a webhook' });
    await post(`/v1/webhooks/${webhook.id}/test`, {});
    await page.goto(`/operations/webhooks/${webhook.id}`);
    const deliveries = page.getByRole('region', { name: webhooks.deliveries });
    await deliveries.locator(`a[href="/advertisers/${advertiserId}"]`, { hasText: 'Of a webhook' }).waitFor();
    await deliveries.getByText(webhooks.testEvent).waitFor();
    await deliveries.getByText('webhook.test', { exact: true }).waitFor();
    // The end of the campaign is an event, which names it.
    await send('PATCH', `/v1/campaigns/${campaignId}`, { body: { endsAt: '2026-01-01T00:00:00Z' } });
    const ended = deliveries.getByRole('row').filter({ hasText: 'campaign.ended' });
    await ended.locator(`a[href="/campaigns/${campaignId}"]`, { hasText: 'Told of' }).waitFor();
    await ended.locator(`a[href="/advertisers/${advertiserId}"]`, { hasText: 'Of a webhook' }).waitFor();
    expect((await send('DELETE', `/v1/webhooks/${webhook.id}`)).status).toBeLessThan(300);
  });

  it('can have a private address if the console may send to one', async () => {
    const page = await browser.open('/');
    await page.route('**/v1/operations', async (route) => {
      const response = await route.fetch();
      const body = await response.json();
      for (const setting of body.settings)
        if (setting.name === 'WEBHOOK_PRIVATE_TARGETS') setting.value = 'on';
      await route.fulfill({ response, json: body });
    });
    await page.goto('/operations/webhooks');
    await page.getByRole('button', { name: webhooks.create }).click();
    await dialogOf(page).getByText(webhooks.privateUrlHint).waitFor();
  });
});

describe.skipIf(skipped)('an API key', () => {
  const browser = testBrowser();

  it('is created, logs a browser in, and ends the session when it is revoked', async () => {
    const { advertiserId } = await addAccount({ name: 'Of one key', budget: '1.00', price: '0.10' });
    const page = await browser.open('/operations/keys');
    await page.getByRole('button', { name: keys.create }).click();
    await dialogOf(page).getByLabel(keys.name, { exact: true }).fill('Key of Ann');
    await dialogOf(page).getByLabel(keys.role, { exact: true }).selectOption('manager');
    const advertiser = dialogOf(page).getByLabel(keys.advertisers);
    await advertiser.fill('Nobody');
    await dialogOf(page).getByRole('button', { name: keys.create }).click();
    await dialogOf(page).getByText(texts.errors.unknownAdvertiser('Nobody')).first().waitFor();
    await advertiser.fill('Of one key');
    await dialogOf(page).locator('datalist option').first().waitFor({ state: 'attached' });
    await advertiser.blur();
    await dialogOf(page)
      .getByText(texts.controls.remove(`Of one key (${advertiserId})`))
      .waitFor();
    await dialogOf(page).getByRole('button', { name: keys.create }).click();
    const secret = await dialogOf(page).locator('code').textContent();
    await dialogOf(page).getByRole('button', { name: texts.controls.close }).last().click();

    browser.allow(/^401 /);
    const other = await browser.open('/', { key: null });
    await other.getByLabel(texts.login.key, { exact: true }).fill(secret ?? '');
    await other.getByRole('button', { name: texts.login.submit }).click();
    await other.getByLabel(texts.session.menu).getByText('Key of Ann').waitFor();

    const row = page.getByRole('row').filter({ hasText: 'Key of Ann' });
    await row.getByText('Of one key').waitFor();
    await row.getByRole('button', { name: keys.revoke }).click();
    await dialogOf(page).getByRole('button', { name: keys.revoke }).click();
    await row.getByText(String(keys.statuses.revoked)).waitFor();
    await other.getByLabel(texts.login.key, { exact: true }).waitFor();
    await other.reload();
    await other.getByLabel(texts.login.key, { exact: true }).waitFor();
  });
});

describe.skipIf(skipped)('the audit log', () => {
  const browser = testBrowser();

  it('names campaigns, ads and advertisers beside their ids', async () => {
    const account = await addAccount({
      ...{ name: 'Of the log', budget: '1.00', price: '0.10' },
      ...{ campaignName: 'Autumn', adName: 'Tower' },
    });
    const { advertiserId, campaignId, adId } = account;
    await post('/v1/keys', { name: 'Key', role: 'viewer', advertiserIds: [advertiserId] });
    const page = await browser.open('/operations/audit?action=campaign.create');
    await page.locator(`a[href="/campaigns/${campaignId}"]`, { hasText: `${campaignId} Autumn` }).waitFor();
    await page.goto('/operations/audit?action=ad.create');
    await page.locator(`a[href="/ads/${adId}"]`, { hasText: `${adId} Tower` }).waitFor();
    await page.locator('li').getByText(`${campaignId} Autumn`).first().waitFor();
    await page.goto('/operations/audit?action=api_key.create');
    await page.locator('li').getByText(`${advertiserId} Of the log`).waitFor();
  });

  it('names a campaign that is behind thousands of others', async () => {
    const { campaignId } = await addAccount({
      ...{ name: 'Late', budget: '1.00', price: '0.10', campaignName: 'Behind' },
    });
    const page = await browser.open('/');
    // The first pages of all campaigns have others.
    await page.route(/\/v1\/campaigns\?/, (route) =>
      new URL(route.request().url()).searchParams.has('ids')
        ? route.continue()
        : route.fulfill({ json: { items: [], nextCursor: 'Mg' } }),
    );
    await page.goto('/operations/audit?action=campaign.create');
    await page.locator(`a[href="/campaigns/${campaignId}"]`, { hasText: `${campaignId} Behind` }).waitFor();
  });
});

describe.skipIf(skipped)('the settings', () => {
  const browser = testBrowser();

  it('begin with those that are set, and are found by a part of their name', async () => {
    const page = await browser.open('/operations/settings');
    const { settings } = texts.operations;
    const rows = page.getByRole('region', { name: settings.title, exact: true }).locator('tbody tr');
    await rows.first().getByText(settings.given, { exact: true }).waitFor();
    await rows.last().getByText(settings.default, { exact: true }).waitFor();
    await page.getByLabel(texts.controls.search).fill('spool_sync');
    await expect.poll(() => rows.count()).toBe(2);
    await rows.first().getByText('SPOOL_SYNC', { exact: true }).waitFor();
    await page.getByLabel(texts.controls.search).fill('no such setting');
    await page.getByText(settings.notFound).waitFor();
  });
});
