import { describe, expect, it } from 'vitest';
import { parseAmount } from '../../../common/money.ts';
import { addAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import {
  addCampaign,
  findCampaign,
  listCampaigns,
  type PutSettings,
  putCampaign,
  readCampaign,
  updateCampaign,
} from '../../../ledger/accounts/campaigns.ts';
import { chargeBatch } from '../../support/charge-batch.ts';
import { addAdTo, testDatabase } from '../../support/database.ts';
import { clickRecord } from '../../support/records.ts';

const database = testDatabase();
const addOwner = () => addAdvertiser(database.pool, 'Owner', 'USD', 'Europe/Berlin');

const FULL: PutSettings = {
  name: 'Summer',
  status: 'paused',
  capMicros: parseAmount('500.00'),
  dailyCapMicros: parseAmount('50.00'),
  startsAt: '2026-06-01',
  endsAt: new Date('2026-09-01T00:00:00Z'),
  fallbackUrl: 'https://example.com/sold-out',
  pacing: 'even',
  hold: true,
};

describe('putCampaign', () => {
  it('creates a campaign, then changes nothing, then replaces all settings', async () => {
    const { id: owner } = await addOwner();
    const put = (settings: PutSettings) => putCampaign(database.pool, owner, 'crm-1', settings);
    const created = await put(FULL);
    expect(created).toMatchObject({
      result: 'created',
      campaign: { ...FULL, externalId: 'crm-1', startsAt: new Date('2026-05-31T22:00:00Z') },
    });
    const { id } = created.campaign;
    expect(await put(FULL)).toMatchObject({ result: 'unchanged', campaign: { id } });
    expect(await put({ name: 'Autumn' })).toMatchObject({
      result: 'changed',
      campaign: {
        ...{
          id,
          name: 'Autumn',
          externalId: 'crm-1',
          status: 'active',
          capMicros: null,
          dailyCapMicros: null,
        },
        ...{ startsAt: null, endsAt: null, fallbackUrl: null, pacing: 'none', hold: false },
      },
    });
    expect(await listCampaigns(database.pool, { externalId: 'crm-1' })).toEqual([
      await readCampaign(database.pool, id),
    ]);
  });

  it('writes nothing if nothing changes', async () => {
    const { id: owner } = await addOwner();
    const { campaign } = await putCampaign(database.pool, owner, 'same', FULL);
    const version = async () =>
      (await database.pool.query('select xmin::text, ctid::text from campaign where id = $1', [campaign.id]))
        .rows;
    const before = await version();
    await putCampaign(database.pool, owner, 'same', FULL);
    expect(await version()).toEqual(before);
    await putCampaign(database.pool, owner, 'same', { ...FULL, name: 'Other' });
    expect(await version()).not.toEqual(before);
  });

  it('creates one campaign if several callers put it at the same time', async () => {
    const { id: owner } = await addOwner();
    const put = () => putCampaign(database.pool, owner, 'crm 2/ü', { name: 'Once' });
    const results = await Promise.all(Array.from({ length: 8 }, put));
    expect(new Set(results.map(({ campaign }) => campaign.id)).size).toBe(1);
    expect(results.map(({ result }) => result).sort()).toEqual([
      'created',
      ...Array.from({ length: 7 }, () => 'unchanged'),
    ]);
  });

  it('gives each advertiser campaigns of its own', async () => {
    const [one, other] = [await addOwner(), await addOwner()];
    const first = await putCampaign(database.pool, one.id, 'shared', { name: 'One' });
    const second = await putCampaign(database.pool, other.id, 'shared', { name: 'Other' });
    expect(second.result).toBe('created');
    expect(await findCampaign(database.pool, one.id, 'shared')).toEqual(first.campaign);
    expect(await findCampaign(database.pool, one.id, 'unknown')).toBeNull();
  });

  it('reads ids that look the same as the same id', async () => {
    const { id: owner } = await addOwner();
    const { campaign } = await putCampaign(database.pool, owner, 'caf\u00e9', { name: 'One' });
    expect(await putCampaign(database.pool, owner, ' cafe\u0301 ', { name: 'One' })).toMatchObject({
      result: 'unchanged',
      campaign: { id: campaign.id },
    });
  });

  it('refuses a cap below what is spent, and leaves the campaign as it is', async () => {
    const { id: owner } = await addOwner();
    await database.pool.query('update advertiser set budget_micros = 10000000 where id = $1', [owner]);
    const put = (cap: string) =>
      putCampaign(database.pool, owner, 'spent', { name: 'Spent', capMicros: parseAmount(cap) });
    const { campaign } = await put('1.00');
    const ad = await addAdTo(database.pool, campaign, '0.40');
    expect(await chargeBatch(database.pool, [clickRecord({ ad }), clickRecord({ ad })])).toEqual([
      'charged',
      'charged',
    ]);
    await expect(put('0.79')).rejects.toMatchObject({ code: 'cap_below_spent' });
    expect(await put('0.80')).toMatchObject({ result: 'changed', campaign: { spentMicros: 800_000n } });
  });

  it.each([
    ['', 'bad_external_id', 'Expected an external id of 1–100 printable characters, got none'],
    ['x'.repeat(101), 'bad_external_id', 'got 101 characters'],
    ['a\u00a0b', 'bad_external_id', 'Expected an external id with ordinary spaces and without joiners'],
    ['a\nb', 'bad_external_id', 'got "a\\u000ab"'],
  ])('refuses the id %j', async (externalId, code, message) => {
    const { id: owner } = await addOwner();
    await expect(putCampaign(database.pool, owner, externalId, { name: 'X' })).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });

  it('refuses an advertiser that does not exist', async () => {
    await expect(putCampaign(database.pool, 2_000_000_000, 'x', { name: 'X' })).rejects.toMatchObject({
      code: 'unknown_advertiser',
    });
  });
});

describe('an external id', () => {
  it('is given to one campaign of an advertiser, and can be changed and removed', async () => {
    const { id: owner } = await addOwner();
    const first = await addCampaign(database.pool, owner, 'First', { externalId: 'a' });
    const second = await addCampaign(database.pool, owner, 'Second');
    const taken = {
      code: 'external_id_taken',
      message: `Expected an external id that no other campaign of advertiser ${owner} has, got "a", which campaign ${first.id} (First) has`,
    };
    await expect(addCampaign(database.pool, owner, 'Third', { externalId: 'a' })).rejects.toMatchObject(
      taken,
    );
    const change = (id: number, externalId: string | null) =>
      updateCampaign(database.pool, id, { externalId });
    await expect(change(second.id, 'a')).rejects.toMatchObject(taken);
    expect(await change(first.id, 'a')).toMatchObject({ externalId: 'a' });
    expect(await change(first.id, null)).toMatchObject({ externalId: null });
    expect(await change(second.id, 'a')).toMatchObject({ externalId: 'a' });
  });
});
