import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../common/uuid.ts';
import { addAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { addBudgetEntry, creditClick, listBudgetEntries } from '../../ledger/accounts/budget-entries.ts';
import { addCampaign } from '../../ledger/accounts/campaigns.ts';
import { rollUp } from '../../ledger/reports/rollup.ts';
import { chargeBatch, expectBalanced } from '../support/charge-batch.ts';
import { type Account, addAccount, addAdTo, testDatabase } from '../support/database.ts';
import { TestSpool } from '../support/records.ts';
import { testApi } from './api-client.ts';

const database = testDatabase();
const api = testApi(database);
const spool = new TestSpool();
let mine: Account;
let other: Account;
/** Charged clicks of `mine`. */
let clicks: readonly string[];
/** A charged click of `other`, which is in another currency. */
let foreign = '';
/** A finance key that sees `mine` only. */
let restricted = '';

beforeAll(async () => {
  mine = await addAccount(database.pool);
  const advertiser = await addAdvertiser(database.pool, 'Other', 'EUR');
  await addBudgetEntry(database.pool, advertiser.id, 'top_up', 100_000_000n);
  const campaign = await addCampaign(database.pool, advertiser.id, 'Other');
  other = { advertiser, campaign, ad: await addAdTo(database.pool, campaign, '0.40') };
  restricted = await api.addKey({ role: 'finance', advertiserIds: [mine.advertiser.id] });
});
beforeEach(async () => {
  const records = [mine, mine, mine, other].map(({ ad }) => spool.click({ ad }));
  await chargeBatch(database.pool, records);
  const ids = records.map(({ click }) => click.clickId);
  clicks = ids.slice(0, 3);
  foreign = ids[3] ?? '';
});

const NONE = {
  ...{ amounts: [], credited: [], alreadyCredited: [], notCharged: [], otherAdvertiser: [] },
  ...{ unknown: [], dayClosed: [] },
};
const post = (body: object, options: { key?: string; headers?: Record<string, string> } = {}) =>
  api.send('POST', '/v1/credits', { body, ...options });
const credit = (clickId: string, { advertiser }: Account, amount: string) => ({
  ...{ clickId, advertiserId: advertiser.id, amount, currency: advertiser.currency },
});
const creditsOf = async ({ advertiser }: Account) =>
  (await listBudgetEntries(database.pool, advertiser.id)).filter(({ kind }) => kind === 'credit').length;

describe('POST /v1/credits', () => {
  it('credits clicks of several advertisers once, and lists each click', async () => {
    const [a = '', b = '', before = ''] = clicks;
    await creditClick(database.pool, before);
    const robot = spool.click({ ad: mine.ad, invalid: 'bot' });
    await chargeBatch(database.pool, [robot]);
    const [unknown, closed] = [uuidV7(), uuidV7(Date.UTC(2020, 0, 1))];
    const body = { clickIds: [unknown, a, before, foreign, robot.click.clickId, b.toUpperCase(), closed, a] };
    const lists = {
      ...NONE,
      notCharged: [
        {
          ...{ clickId: robot.click.clickId, advertiserId: mine.advertiser.id },
          ...{ outcome: 'invalid', reason: 'bot' },
        },
      ],
      ...{ unknown: [unknown], dayClosed: [closed] },
    };
    const entered = [credit(a, mine, '0.25'), credit(foreign, other, '0.40'), credit(b, mine, '0.25')];
    expect(await post(body)).toMatchObject({
      status: 201,
      body: {
        ...lists,
        amounts: [
          { currency: 'USD', amount: '0.50' },
          { currency: 'EUR', amount: '0.40' },
        ],
        ...{ credited: entered, alreadyCredited: [credit(before, mine, '0.25')] },
      },
    });
    const again = await post(body);
    expect(again.status).toBe(200);
    const [first, second, third] = entered;
    expect(again.body).toEqual({
      ...lists,
      alreadyCredited: [first, credit(before, mine, '0.25'), second, third],
    });
    await rollUp(database.pool);
    await expectBalanced(database.pool);
  });

  it('lists clicks of other advertisers than the one that is named', async () => {
    const [a = ''] = clicks;
    const body = { clickIds: [a, foreign], advertiserId: mine.advertiser.id };
    expect((await post(body)).body).toEqual({
      ...{ ...NONE, amounts: [{ currency: 'USD', amount: '0.25' }], credited: [credit(a, mine, '0.25')] },
      otherAdvertiser: [{ clickId: foreign, advertiserId: other.advertiser.id }],
    });
    expect(await post({ ...body, advertiserId: 2_000_000_000 })).toMatchObject({
      status: 404,
      body: { code: 'unknown_advertiser' },
    });
  });

  it('answers a restricted key alike for clicks of others and for none', async () => {
    const [a = ''] = clicks;
    const unknown = uuidV7();
    await creditClick(database.pool, foreign);
    for (const advertiserId of [undefined, mine.advertiser.id]) {
      const [hidden, none] = await Promise.all(
        [foreign, unknown].map((id) => post({ clickIds: [id], advertiserId }, { key: restricted })),
      );
      expect(hidden).toMatchObject({ status: 200, body: { ...NONE, unknown: [foreign] } });
      expect(JSON.stringify(hidden?.body)).toBe(JSON.stringify(none?.body).replace(unknown, foreign));
    }
    const credited = await post({ clickIds: [foreign, a] }, { key: restricted });
    expect(credited.body).toMatchObject({ credited: [credit(a, mine, '0.25')], unknown: [foreign] });
    const [hidden, none] = await Promise.all(
      [other.advertiser.id, 2_000_000_000].map((advertiserId) =>
        post({ clickIds: [a], advertiserId }, { key: restricted }),
      ),
    );
    expect(hidden?.status).toBe(404);
    expect(JSON.stringify(hidden?.body)).toBe(
      JSON.stringify(none?.body).replaceAll('2000000000', String(other.advertiser.id)),
    );
  });

  it('takes 1 to 1000 click ids and nothing else', async () => {
    const many = (count: number) => Array.from({ length: count }, () => uuidV7());
    for (const body of [
      ...[{}, { clickIds: [] }, { clickIds: many(1_001) }, { clickIds: ['4711'] }, { clickIds: [4711] }],
      ...[
        { clickIds: many(1), reference: 'x' },
        { clickIds: many(1), advertiserId: 0 },
      ],
    ])
      expect(await post(body)).toMatchObject({ status: 400, body: { code: 'bad_request' } });
    const { status, body } = await post({ clickIds: many(1_000) });
    expect(status).toBe(200);
    expect(body.unknown).toHaveLength(1_000);
  });

  it('answers a repeated Idempotency-Key as it did first', async () => {
    const before = await creditsOf(mine);
    const body = { clickIds: clicks };
    const headers = { 'idempotency-key': 'credits' };
    const answers = await Promise.all(Array.from({ length: 4 }, () => post(body, { headers })));
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201, 201]);
    for (const answer of answers) expect(answer.body).toEqual(answers[0]?.body);
    expect(answers[0]?.body.credited).toHaveLength(3);
    expect(answers.filter((answer) => answer.headers['idempotency-replayed'])).toHaveLength(3);
    expect(await post({ clickIds: [foreign] }, { headers })).toMatchObject({
      status: 409,
      body: { code: 'idempotency_key_reused' },
    });
    expect(await creditsOf(mine)).toBe(before + 3);
  });

  it('names the key in the audit log', async () => {
    await post({ clickIds: clicks.slice(0, 1) }, { key: restricted });
    const { items } = (await api.send('GET', `/v1/audit?advertiserId=${mine.advertiser.id}&limit=500`)).body;
    expect(
      items.filter(({ after }: { after?: { clickId?: string } }) => after?.clickId === clicks[0]),
    ).toMatchObject([{ action: 'budget_entry.create', actorType: 'key', actorRole: 'finance' }]);
  });
});
