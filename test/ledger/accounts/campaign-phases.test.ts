import { beforeEach, describe, expect, it } from 'vitest';
import { inTransaction } from '../../../common/postgres/postgres.ts';
import { addAdvertiser, setAdvertiserStatus } from '../../../ledger/accounts/advertisers.ts';
import { moveDueCampaigns } from '../../../ledger/accounts/campaign-phases.ts';
import { addCampaign, updateCampaign } from '../../../ledger/accounts/campaigns.ts';
import { untilWaitingForLock } from '../../support/charge-batch.ts';
import { addAccount, addAdTo, testDatabase } from '../../support/database.ts';
import { takeEvents } from '../../support/webhook-events.ts';

const database = testDatabase();
beforeEach(() => takeEvents(database.pool));

const HOUR_MS = 3_600_000;
const inHours = (hours: number) => new Date(Date.now() + hours * HOUR_MS);
const advertiser = () => addAdvertiser(database.pool, 'phases', 'USD');

/** Moves the dates of an advertiser's campaigns, as if this many hours had passed. */
async function passHours(advertiserId: number, hours: number): Promise<void> {
  await database.pool.query(
    `update campaign set starts_at = starts_at - make_interval(hours => $2), ends_at = ends_at - make_interval(hours => $2)
     where advertiser_id = $1`,
    [advertiserId, hours],
  );
}

async function phaseOf({ id }: { id: number }): Promise<string | undefined> {
  const { rows } = await database.pool.query<{ phase: string }>('select phase from campaign where id = $1', [
    id,
  ]);
  return rows[0]?.phase;
}

/** The events since the last call, each with the name of its campaign. */
async function events(): Promise<string[]> {
  return (await takeEvents(database.pool)).map(({ type, data }) =>
    'campaignName' in data ? `${data.campaignName} ${type}` : type,
  );
}

describe('a campaign', () => {
  it('that starts and ends is sent once each, with its dates', async () => {
    const { id } = await advertiser();
    const dates = { startsAt: inHours(2), endsAt: inHours(4) };
    const campaign = await addCampaign(database.pool, id, 'one', { ...dates, externalId: 'one-26' });
    const move = async () => [
      await moveDueCampaigns(database.pool),
      await phaseOf(campaign),
      await takeEvents(database.pool),
    ];
    const event = (type: string, hours: number) => ({
      type,
      advertiserId: id,
      data: {
        ...{ advertiserId: id, advertiserName: 'phases' },
        ...{ campaignId: campaign.id, campaignName: 'one', externalId: 'one-26' },
        startsAt: new Date(dates.startsAt.getTime() - hours * HOUR_MS).toISOString(),
        endsAt: new Date(dates.endsAt.getTime() - hours * HOUR_MS).toISOString(),
      },
    });
    expect(await move()).toEqual([0, 'scheduled', []]);
    await passHours(id, 3);
    expect(await move()).toEqual([1, 'running', [event('campaign.started', 3)]]);
    expect(await move()).toEqual([0, 'running', []]);
    await passHours(id, 2);
    expect(await move()).toEqual([1, 'ended', [event('campaign.ended', 5)]]);
    expect(await move()).toEqual([0, 'ended', []]);
  });

  it('that is created running or ended is no event', async () => {
    const { id } = await advertiser();
    const past = { startsAt: inHours(-2), endsAt: inHours(-1) };
    const made = [
      await addCampaign(database.pool, id, 'always'),
      await addCampaign(database.pool, id, 'running', { ...past, endsAt: inHours(1) }),
      await addCampaign(database.pool, id, 'ended', past),
    ];
    expect(await Promise.all(made.map(phaseOf))).toEqual(['running', 'running', 'ended']);
    expect([await moveDueCampaigns(database.pool), await events()]).toEqual([0, []]);
  });

  it('whose dates are changed moves at once', async () => {
    const { id } = await advertiser();
    const campaign = await addCampaign(database.pool, id, 'moved', { startsAt: inHours(1) });
    const change = async (changes: { startsAt?: Date | null; endsAt?: Date | null }) => {
      await updateCampaign(database.pool, campaign.id, changes);
      return [await phaseOf(campaign), ...(await takeEvents(database.pool)).map(({ type }) => type)];
    };
    expect(await change({ startsAt: inHours(-2) })).toEqual(['running', 'campaign.started']);
    expect(await change({ endsAt: inHours(-1) })).toEqual(['ended', 'campaign.ended']);
    expect(await change({ endsAt: inHours(2) })).toEqual(['running', 'campaign.started']);
    expect(await change({ startsAt: inHours(1) })).toEqual(['scheduled']);
    const both = ['ended', 'campaign.started', 'campaign.ended'];
    expect(await change({ startsAt: inHours(-2), endsAt: inHours(-1) })).toEqual(both);
    expect(await change({ startsAt: inHours(1), endsAt: null })).toEqual(['scheduled']);
  });

  it('that is archived, or whose advertiser is, moves without an event, and a paused one with it', async () => {
    const [own, archived] = [await advertiser(), await advertiser()];
    const startsAt = inHours(1);
    const moved = [
      await addCampaign(database.pool, own.id, 'paused', { startsAt, status: 'paused' }),
      await addCampaign(database.pool, own.id, 'gone', { startsAt, status: 'archived' }),
      await addCampaign(database.pool, archived.id, 'gone too', { startsAt }),
    ];
    await setAdvertiserStatus(database.pool, archived.id, 'archived');
    for (const { id } of [own, archived]) await passHours(id, 2);
    expect(await moveDueCampaigns(database.pool)).toBe(2);
    expect(await events()).toEqual(['paused campaign.started']);
    expect(await Promise.all(moved.map(phaseOf))).toEqual(['running', 'running', 'running']);
  });
});

it('Starts and ends that were missed while no console ran are sent in their order', async () => {
  const { id } = await advertiser();
  await addCampaign(database.pool, id, 'second', { startsAt: inHours(2), endsAt: inHours(5) });
  await addCampaign(database.pool, id, 'first', { startsAt: inHours(1), endsAt: inHours(4) });
  await addCampaign(database.pool, id, 'later', { startsAt: inHours(3) });
  await passHours(id, 6);
  await moveDueCampaigns(database.pool);
  expect(await events()).toEqual([
    'first campaign.started',
    'second campaign.started',
    'later campaign.started',
    'first campaign.ended',
    'second campaign.ended',
  ]);
});

it('Several consoles at once send one event of each campaign', async () => {
  const { id } = await advertiser();
  for (const name of ['one', 'two', 'three'])
    await addCampaign(database.pool, id, name, { startsAt: inHours(1) });
  await passHours(id, 2);
  await Promise.all([1, 2, 3, 4].map(() => moveDueCampaigns(database.pool)));
  expect((await events()).sort()).toEqual([
    'one campaign.started',
    'three campaign.started',
    'two campaign.started',
  ]);
});

it('An advertiser that is locked does not hold up the campaigns of others', async () => {
  const [locked, free] = [await advertiser(), await advertiser()];
  await addCampaign(database.pool, locked.id, 'locked', { startsAt: inHours(1) });
  await addCampaign(database.pool, free.id, 'free', { startsAt: inHours(1) });
  for (const { id } of [locked, free]) await passHours(id, 2);
  await inTransaction(database.pool, async (connection) => {
    await connection.query('select from advertiser where id = $1 for update', [locked.id]);
    await expect(moveDueCampaigns(database.pool)).rejects.toMatchObject({ code: '55P03' });
    expect(await events()).toEqual(['free campaign.started']);
  });
  expect([await moveDueCampaigns(database.pool), await events()]).toEqual([1, ['locked campaign.started']]);
});

it('A change that waits for the lock since before the start does not move the campaign back', async () => {
  const { id } = await advertiser();
  const campaign = await addCampaign(database.pool, id, 'waits', { startsAt: inHours(1) });
  let renamed: Promise<unknown> = Promise.resolve();
  await inTransaction(database.pool, async (connection) => {
    await connection.query('select from advertiser where id = $1 for update', [id]);
    renamed = updateCampaign(database.pool, campaign.id, { pacing: 'none' });
    await untilWaitingForLock(database.pool);
    await database.pool.query(
      "update campaign set starts_at = clock_timestamp(), phase = 'running' where id = $1",
      [campaign.id],
    );
  });
  await renamed;
  expect([await phaseOf(campaign), await events()]).toEqual(['running', []]);
});

it('The end of the campaign with the cheapest ads can exhaust the budget', async () => {
  const { advertiser: owner, campaign } = await addAccount(database.pool, { budget: '0.40', price: '0.10' });
  await addAdTo(database.pool, await addCampaign(database.pool, owner.id, 'dear'), '0.50');
  await updateCampaign(database.pool, campaign.id, { endsAt: inHours(1) });
  await passHours(owner.id, 2);
  await moveDueCampaigns(database.pool);
  expect(await events()).toEqual(['Test campaign campaign.ended', 'budget.exhausted']);
});
