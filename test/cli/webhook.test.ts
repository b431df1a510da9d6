import { describe, expect, it } from 'vitest';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { updateCampaign } from '../../ledger/accounts/campaigns.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { tollwayHere } from '../support/run-here.ts';
import { tollway } from '../support/run-script.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';
import { emitNumber, testConsole, testReceiver } from '../support/webhooks-fixture.ts';

const database = testDatabase();
const folder = suiteFolder();

const settings = () => ({ PATH: process.env.PATH, DATABASE_URL: database.url, DATA_DIR: folder });
const run = (env: NodeJS.ProcessEnv, ...args: string[]) =>
  tollwayHere({ ...settings(), ...env }, 'webhook', ...args);

const PRIVATE = { WEBHOOK_PRIVATE_TARGETS: 'on' };
const json = async (...args: string[]) => JSON.parse((await run(PRIVATE, ...args, '--json')).stdout);

describe('webhook', () => {
  it('adds a webhook, prints its secret once, and changes it', async () => {
    const { id: advertiserId } = await addAdvertiser(database.pool, 'one', 'USD');
    const advertiser = ['--advertiser', String(advertiserId)];
    const added = await run(
      {},
      'add',
      'https://example.com/hook',
      '--events',
      'budget.low, budget.exhausted',
      ...advertiser,
    );
    expect(added.stdout).toMatch(/^whsec_[A-Za-z0-9+/]{43}=\n$/);
    expect(added.stderr).toMatch(/^Added webhook \d+\. Its secret cannot be shown again\n$/);
    const [listed] = await json('list', ...advertiser);
    expect(listed).toEqual({
      id: expect.any(Number),
      url: 'https://example.com/hook',
      eventTypes: ['budget.low', 'budget.exhausted'],
      advertiserId,
      advertiserName: 'one',
      status: 'active',
      failingSince: null,
      retryAt: null,
      previousSecretUntil: null,
      createdAt: expect.stringMatching(/^\d{4}-.*Z$/),
    });
    const id = String(listed.id);
    const { stdout } = await tollway(settings(), 'webhook', 'list');
    expect(stdout).toMatch(/ budget\.low budget\.exhausted +\d+ +one +active /);
    const updated = await json('update', id, '--url', 'http://10.0.0.1/hook', '--events', 'all');
    expect(updated).toMatchObject({ url: 'http://10.0.0.1/hook', eventTypes: [] });
    expect(await json('pause', id)).toMatchObject({ status: 'paused' });
    expect((await run({}, 'test', id)).stderr).toContain(`got webhook ${id}, which is paused`);
    expect(await json('resume', id)).toMatchObject({ status: 'active' });
    expect(await json('rotate-secret', id)).toMatchObject({
      secret: expect.stringMatching(/^whsec_/),
      previousSecretUntil: expect.stringMatching(/Z$/),
    });
    expect(await json('archive', id)).toMatchObject({ status: 'archived' });
    expect(await json('list')).toEqual([]);
    expect(await json('list', '--all')).toHaveLength(1);
  });

  it.each([
    [['add', 'http://example.com/'], 'expected a URL that begins with https://, got "http://example.com/"'],
    [['add', 'https://me:pw@example.com/'], 'expected no user name and no password, got one'],
    [['add', 'https://127.1/'], 'expected a public address, got "https://127.1/"'],
    [['add', 'example.com'], 'expected a URL that begins with https://, got "example.com"'],
    [['add', 'https://example.com/#a'], 'expected no fragment'],
    [['add', `https://example.com/${'a'.repeat(2_000)}`], 'expected at most 2000 characters, got 2020'],
    [['add', 'https://example.com/', '--events', 'budget.low,nope'], 'got "nope"'],
    [
      ['add', 'https://example.com/', '--advertiser', '999999'],
      'Expected the id of an advertiser in the database, got 999999',
    ],
    [['update', '999999', '--events', 'all'], 'Expected the id of a webhook in the database, got 999999'],
    [['update', '1'], 'Expected --url or --events, got neither'],
    [['replay', '1'], 'Expected the id of an event or --failed-since, got neither'],
    [['replay', '1', '2', '--failed-since', '1d'], 'got both'],
    [['attempts', '1', 'x'], 'Expected the id of an event, got "x"'],
    [['attempts', '1', '999999'], 'Expected the id of an event that was queued for webhook 1, got 999999'],
    [['deliveries', '999999'], 'Expected the id of a webhook in the database, got 999999'],
  ])('refuses %j', async (args, problem) => {
    const { code, stderr, stdout } = await run({}, ...args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(problem);
    expect(stderr).not.toContain('pw@');
  });

  it('tests a webhook, lists deliveries and attempts, and replays them', async () => {
    const receiver = await testReceiver();
    const { id } = await json('add', receiver.url);
    testConsole(database);
    const { eventId } = await json('test', String(id));
    const got = await until('the test event', () => receiver.received[0]);
    expect(got).toMatchObject({ id: `evt_${eventId}`, type: 'webhook.test', data: { webhookId: id } });
    await emitNumber(database.pool, null, 1);
    await until('another event', () => receiver.received.length === 2);
    const delivered = await until('its result', async () => {
      const rows = await json('deliveries', String(id), '--status', 'delivered');
      return rows.length === 2 ? rows : null;
    });
    expect(delivered[1]).toMatchObject({
      eventId,
      eventType: 'webhook.test',
      status: 'delivered',
      attempts: 1,
    });
    expect(await json('attempts', String(id), `evt_${eventId}`)).toEqual([
      { at: expect.any(String), durationMs: expect.any(Number), statusCode: 204, error: null },
    ]);
    expect(await json('replay', String(id), eventId)).toEqual({ webhookId: id, queued: 1 });
    await until('the test event again', () => receiver.received[2]?.id === got.id);
    expect((await run(PRIVATE, 'replay', String(id), '--failed-since', '1d')).stdout).toBe(
      'Queued 0 again.\n',
    );
  });

  it('lists deliveries with the campaign that an event is about', async () => {
    const { campaign } = await addAccount(database.pool);
    const { id } = await json('add', 'https://example.com/ended');
    await updateCampaign(database.pool, campaign.id, { endsAt: new Date(0) });
    testConsole(database);
    const [ended] = await until('the event', async () => {
      const rows = await json('deliveries', String(id));
      return rows.length > 0 ? rows : null;
    });
    const { id: campaignId, name: campaignName } = campaign;
    expect(ended).toMatchObject({ eventType: 'campaign.ended', campaignId, campaignName });
  });
});
