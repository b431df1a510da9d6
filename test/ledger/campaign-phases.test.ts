import { beforeEach, describe, expect, it } from 'vitest';
import { inTransaction } from '../../common/postgres/postgres.ts';
import { addAdvertiser, setAdvertiserStatus } from '../../ledger/advertisers.ts';
import { moveDueCampaigns } from '../../ledger/campaign-phases.ts';
import { addCampaign, updateCampaign } from '../../ledger/campaigns.ts';
import { untilWaitingForLock } from '../support/charge-batch.ts';
import { addAccount, addAdTo, testDatabase } from '../support/database.ts';
import { takeEvents } from '../support/webhook-events.ts';

const database = testDatabase();
beforeEach(() => takeEvents(database.pool));

const SOON_MS = 200;
const inMs = (ms: number) => new Date(Date.now() + ms);
const HOUR_MS = 3_600_000;

async function phaseOf({ id }: { id: number }): Promise<string | undefined> {
  const { rows } = await database.pool.query<{ phase: string }>('select phase from campaign where id = $1', [
    id,
  ]);
  return rows[0]?.phase;
}

/** Moves campaigns until the database's clock has passed all the starts and ends that are near. */
async function untilMoved(count: number): Promise<string[]> {
  const events: string[] = [];
  await expect
    .poll(
      async () => {
        await moveDueCampaigns(database.pool);
        events.push(
          ...(await takeEvents(database.pool)).map(({ type, data }) =>
            'campaignName' in data ? `${data.campaignName} ${type}` : type,
          ),
        );
        return events.length;
      },
      { interval: 20 },
    )
    .toBeGreaterThanOrEqual(count);
  return events;
}

const advertiser = () => addAdvertiser(database.pool, 'phases', 'USD');

describe('a campaign', () => {
  it('that starts and ends is sent once each, with its dates', async () => {
    const { id } = await advertiser();
    const [startsAt, endsAt] = [inMs(SOON_MS), inMs(2 * SOON_MS)];
    const campaign = await addCampaign(database.pool, id, 'one', { startsAt, endsAt });
    expect(await phaseOf(campaign)).toBe('scheduled');
    await moveDueCampaigns(database.pool);
    expect(await takeEvents(database.pool)).toEqual([]);
    await expect.poll(() => moveDueCampaigns(database.pool), { interval: 20 }).toBe(1);
    const data = {
      ...{
        advertiserId: id,
        advertiserName: 'phases',
        campaignId: campaign.id,
        campaignName: 'one',
        externalId: null,
      },
      ...{ startsAt: startsAt.toISOString(), endsAt: endsAt.toISOString() },
    };
    const started = { type: 'campaign.started', advertiserId: id, data };
    expect([await takeEvents(database.pool), await phaseOf(campaign)]).toEqual([[started], 'running']);
    await expect.poll(() => moveDueCampaigns(database.pool), { interval: 20 }).toBe(1);
    const ended = { type: 'campaign.ended', advertiserId: id, data };
    expect([await takeEvents(database.pool), await phaseOf(campaign)]).toEqual([[ended], 'ended']);
    expect([await moveDueCampaigns(database.pool), await takeEvents(database.pool)]).toEqual([0, []]);
  });

  it('that is created running or ended is no event', async () => {
    const { id } = await advertiser();
    const past = { startsAt: inMs(-2 * HOUR_MS), endsAt: inMs(-HOUR_MS) };
    const made = [
      await addCampaign(database.pool, id, 'always'),
      await addCampaign(database.pool, id, 'running', { ...past, endsAt: inMs(HOUR_MS) }),
      await addCampaign(database.pool, id, 'ended', past),
    ];
    expect(await Promise.all(made.map(phaseOf))).toEqual(['running', 'running', 'ended']);
    expect([await moveDueCampaigns(database.pool), await takeEvents(database.pool)]).toEqual([0, []]);
  });

  it('whose dates are changed moves at once', async () => {
    const { id } = await advertiser();
    const campaign = await addCampaign(database.pool, id, 'moved', { startsAt: inMs(HOUR_MS) });
    const change = async (changes: { startsAt?: Date | null; endsAt?: Date | null }) => {
      await updateCampaign(database.pool, campaign.id, changes);
      return [await phaseOf(campaign), ...(await takeEvents(database.pool)).map(({ type }) => type)];
    };
    expect(await change({ startsAt: inMs(-HOUR_MS) })).toEqual(['running', 'campaign.started']);
    expect(await change({ endsAt: inMs(-HOUR_MS / 2) })).toEqual(['ended', 'campaign.ended']);
    expect(await change({ endsAt: inMs(2 * HOUR_MS) })).toEqual(['running', 'campaign.started']);
    expect(await change({ startsAt: inMs(HOUR_MS) })).toEqual(['scheduled']);
    expect(await change({ startsAt: inMs(-2 * HOUR_MS), endsAt: inMs(-HOUR_MS) })).toEqual([
      'ended',
      'campaign.started',
      'campaign.ended',
    ]);
    expect(await change({ startsAt: inMs(HOUR_MS), endsAt: null })).toEqual(['scheduled']);
  });

  it('that is archived, or whose advertiser is, moves without an event, and a paused one with it', async () => {
    const [own, archived] = [await advertiser(), await advertiser()];
    const startsAt = inMs(SOON_MS);
    const paused = await addCampaign(database.pool, own.id, 'paused', { startsAt, status: 'paused' });
    const gone = [
      await addCampaign(database.pool, own.id, 'gone', { startsAt, status: 'archived' }),
      await addCampaign(database.pool, archived.id, 'gone too', { startsAt }),
    ];
    await setAdvertiserStatus(database.pool, archived.id, 'archived');
    expect(await untilMoved(1)).toEqual(['paused campaign.started']);
    expect(await Promise.all([paused, ...gone].map(phaseOf))).toEqual(['running', 'running', 'running']);
  });
});

describe('while no console runs', () => {
  it('starts and ends are missed, and sent in their order when one runs again', async () => {
    const { id } = await advertiser();
    const at = Date.now() + SOON_MS;
    const time = (step: number) => new Date(at + step * 10);
    await addCampaign(database.pool, id, 'second', { startsAt: time(2), endsAt: time(5) });
    await addCampaign(database.pool, id, 'first', { startsAt: time(1), endsAt: time(4) });
    await addCampaign(database.pool, id, 'later', { startsAt: time(3) });
    await expect
      .poll(async () => {
        const { rows } = await database.pool.query('select where now() > $1', [time(6)]);
        return rows.length;
      })
      .toBe(1);
    expect(await untilMoved(5)).toEqual([
      'first campaign.started',
      'second campaign.started',
      'later campaign.started',
      'first campaign.ended',
      'second campaign.ended',
    ]);
  });
});

describe('two consoles at once', () => {
  it('send one event of each campaign', async () => {
    const { id } = await advertiser();
    const startsAt = inMs(SOON_MS);
    for (let at = 0; at < 5; at += 1) await addCampaign(database.pool, id, `campaign ${at}`, { startsAt });
    const events: string[] = [];
    await expect
      .poll(
        async () => {
          await Promise.all([1, 2, 3].map(() => moveDueCampaigns(database.pool)));
          events.push(...(await takeEvents(database.pool)).map(({ type }) => type));
          return events.length;
        },
        { interval: 5 },
      )
      .toBeGreaterThanOrEqual(5);
    expect(events).toEqual(Array.from({ length: 5 }, () => 'campaign.started'));
  });
});

it('An advertiser that is locked does not hold up the campaigns of others', async () => {
  const [locked, free] = [await advertiser(), await advertiser()];
  const startsAt = inMs(SOON_MS);
  await addCampaign(database.pool, locked.id, 'locked', { startsAt });
  await addCampaign(database.pool, free.id, 'free', { startsAt });
  await inTransaction(database.pool, async (connection) => {
    await connection.query('select from advertiser where id = $1 for update', [locked.id]);
    const moved = () => moveDueCampaigns(database.pool).catch(({ code }: { code: string }) => code);
    await expect.poll(moved, { interval: 20 }).toBe('55P03');
    expect(await takeEvents(database.pool)).toMatchObject([{ data: { campaignName: 'free' } }]);
  });
  expect(await untilMoved(1)).toEqual(['locked campaign.started']);
});

it('A change that waits for the lock since before the start does not move the campaign back', async () => {
  const { id } = await advertiser();
  const campaign = await addCampaign(database.pool, id, 'waits', { startsAt: inMs(SOON_MS) });
  let renamed: Promise<unknown> = Promise.resolve();
  await inTransaction(database.pool, async (connection) => {
    await connection.query('select from advertiser where id = $1 for update', [id]);
    renamed = updateCampaign(database.pool, campaign.id, { name: 'renamed' });
    await untilWaitingForLock(database.pool);
    await expect
      .poll(async () => {
        const { rows } = await database.pool.query(
          'select from campaign where id = $1 and starts_at <= now()',
          [campaign.id],
        );
        return rows.length;
      })
      .toBe(1);
  });
  await renamed;
  expect((await takeEvents(database.pool)).map(({ type }) => type)).toEqual(['campaign.started']);
  expect(await phaseOf(campaign)).toBe('running');
});

it('The end of the campaign with the cheapest ads can exhaust the budget', async () => {
  const { advertiser: owner, campaign } = await addAccount(database.pool, { budget: '0.40', price: '0.10' });
  const dear = await addCampaign(database.pool, owner.id, 'dear');
  await addAdTo(database.pool, dear, '0.50');
  await updateCampaign(database.pool, campaign.id, { endsAt: inMs(SOON_MS) });
  expect(await untilMoved(2)).toEqual(['Test campaign campaign.ended', 'budget.exhausted']);
});
