import { type Connection, inTransaction, type Pool } from '../../common/postgres/postgres.ts';
import { beginCharge, lockAdvertisers } from '../charge-locks.ts';
import { emit } from '../webhooks/emit.ts';
import { updateBudgetFlags } from './budget-flag.ts';

type Phase = 'scheduled' | 'running' | 'ended';

/** Longest wait for an advertiser that another transaction has locked. The campaigns of the others wait meanwhile. */
const BEGIN_PHASES = beginCharge(1);

/**
 * SQL for the phase of a row of `campaign`. It reads the clock after the wait for the advertiser's lock: with `now()`, which is from before the
 * wait, the phase could go back.
 */
const PHASE_NOW = `(select case when ends_at <= clock.now then 'ended' when starts_at > clock.now then 'scheduled' else 'running' end
  from (select clock_timestamp() as now) clock)`;

/** Sets the phase of a new campaign, without an event. */
export async function setFirstPhase(connection: Connection, campaignId: number): Promise<void> {
  await connection.query(`update campaign set phase = ${PHASE_NOW} where id = $1`, [campaignId]);
}

/**
 * Moves the campaigns of an advertiser to the phases of their starts and ends, and emits `campaign.started` and `campaign.ended`, in the order
 * of these times. A campaign that started and ended since the last call emits both. A start that is moved into the future is no event, and
 * archived campaigns have none. Call it under the advertiser's lock, then update the budget flags.
 */
export async function moveCampaignPhases(connection: Connection, advertiserId: number): Promise<void> {
  const { rows } = await connection.query<MovedCampaign>(
    `update campaign set phase = due.phase
     from (select id, phase as before, ${PHASE_NOW} as phase from campaign where advertiser_id = $1) due, advertiser
     where campaign.id = due.id and due.before <> due.phase and advertiser.id = campaign.advertiser_id
     returning campaign.id as "campaignId", campaign.name as "campaignName", external_id as "externalId", advertiser.name as "advertiserName",
       starts_at as "startsAt", ends_at as "endsAt", before, due.phase,
       'archived' in (campaign.status, advertiser.status) as "isArchived"`,
    [advertiserId],
  );
  const transitions = rows.flatMap((campaign) => transitionsOf(campaign));
  for (const { type, campaign } of transitions.sort((a, b) => a.at - b.at)) {
    const { campaignId, campaignName, externalId, advertiserName, startsAt, endsAt } = campaign;
    const period = {
      startsAt: startsAt?.toISOString() ?? null,
      endsAt: endsAt?.toISOString() ?? null,
    };
    const data = { advertiserId, advertiserName, campaignId, campaignName, externalId, ...period };
    await emit(connection, { type, advertiserId, data });
  }
}

type MovedCampaign = {
  readonly campaignId: number;
  readonly campaignName: string;
  readonly externalId: string | null;
  readonly advertiserName: string;
  readonly startsAt: Date | null;
  readonly endsAt: Date | null;
  readonly before: Phase;
  readonly phase: Phase;
  readonly isArchived: boolean;
};

function transitionsOf(campaign: MovedCampaign) {
  const { before, phase, startsAt, endsAt, isArchived } = campaign;
  if (isArchived || phase === 'scheduled') return [];
  const started = {
    type: 'campaign.started' as const,
    at: startsAt?.getTime() ?? 0,
    campaign,
  };
  const ended = { type: 'campaign.ended' as const, at: endsAt?.getTime() ?? 0, campaign };
  if (phase === 'running') return [started];
  return before === 'scheduled' ? [started, ended] : [ended];
}

/** Advertisers whose campaigns are moved by one call. The next call continues. */
const ADVERTISERS_MAX = 1_000;

/**
 * Moves the campaigns whose start or end has passed, one transaction for each advertiser, and returns the number of advertisers. Safe to run
 * in several processes. If a transaction fails, because its advertiser is locked for instance, the others go on; throws the first error.
 */
export async function moveDueCampaigns(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ id: number }>(
    `select advertiser_id as id from campaign where phase = 'scheduled' and starts_at <= now()
     union select advertiser_id from campaign where phase <> 'ended' and ends_at <= now()
     limit ${ADVERTISERS_MAX}`,
  );
  const failures: unknown[] = [];
  for (const { id } of rows) {
    const move = async (connection: Connection) => {
      await lockAdvertisers(connection, [id]);
      await moveCampaignPhases(connection, id);
      await updateBudgetFlags(connection, [id]);
    };
    await inTransaction(pool, move, BEGIN_PHASES).catch((error: unknown) => failures.push(error));
  }
  if (failures.length > 0) throw failures[0];
  return rows.length;
}
