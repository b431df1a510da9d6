import { expect, it } from 'vitest';
import { addAccount, testDatabase } from '../support/database.ts';

const database = testDatabase();

/** The columns of a campaign with a cap, a daily cap, a plan and a fallback URL. */
const PLANNED = `cap_micros = 9, daily_cap_micros = 9, daily_cap_since = '2026-01-31', pacing = 'even', hold = true, fallback_url = 'https://example.com/'`;

it.each([
  ['campaign_spent_micros_check', 'spent_micros = -1'],
  ['campaign_daily_cap_micros_check', 'daily_cap_micros = 0'],
  ['campaign_daily_cap_since', 'daily_cap_since = null'],
  ['campaign_pacing_has_daily_cap', 'daily_cap_micros = null'],
  ['campaign_hold_has_pacing_and_fallback', "pacing = 'none'"],
  ['campaign_hold_has_pacing_and_fallback', 'fallback_url = null'],
  ['campaign_pacing_check', "pacing = 'fast', hold = false"],
  ['campaign_ends_after_start', "starts_at = '2026-01-31', ends_at = '2026-01-31'"],
  ['campaign_status_check', "status = 'ended'"],
  ['campaign_phase_check', "phase = 'active'"],
])('%s refuses a campaign with %s', async (constraint, change) => {
  const { campaign } = await addAccount(database.pool);
  await database.pool.query(`update campaign set ${PLANNED} where id = $1`, [campaign.id]);
  await expect(
    database.pool.query(`update campaign set ${change} where id = $1`, [campaign.id]),
  ).rejects.toMatchObject({ code: '23514', constraint });
});

it.each([
  ['campaign_day_cap_micros_check', 'cap_micros', 0],
  ['campaign_day_spent_micros_check', 'spent_micros', -1],
])('%s refuses a day of a campaign with %s of %d', async (constraint, column, micros) => {
  const { campaign } = await addAccount(database.pool);
  const insert = `insert into campaign_day (campaign_id, day, ${column}) values ($1, '2026-01-31', $2)`;
  await expect(database.pool.query(insert, [campaign.id, micros])).rejects.toMatchObject({
    code: '23514',
    constraint,
  });
});

it.each([
  ['advertiser_currency_check', "insert into advertiser (name, currency) values ('x', 'usd')"],
  ['advertiser_status_check', "insert into advertiser (name, currency, status) values ('x', 'USD', 'gone')"],
  ['broker_chunk_record_count_check', "insert into broker_chunk (record_count, payload) values (0, '')"],
  [
    'spool_correction_reason_check',
    "insert into spool_correction (spool_id, accepted_before, accepted_after, reason) values (gen_random_uuid(), 0, 1, '')",
  ],
  ['click_rollup_state_one_check', 'insert into click_rollup_state (one, rolled_to) values (false, now())'],
  [
    'api_answer_request_hash_check',
    "insert into api_answer (api_key_id, idempotency_key, request_hash, status, headers, body) values (1, 'x', 'short', 0, '{}', '')",
  ],
  [
    'api_answer_idempotency_key_check',
    "insert into api_answer (api_key_id, idempotency_key, request_hash, status, headers, body) values (1, '', sha256(''), 0, '{}', '')",
  ],
  [
    'api_key_admin_has_all_advertisers',
    "insert into api_key (name, role, advertiser_ids, secret_hash) values ('x', 'admin', '{1}', sha256(''))",
  ],
])('%s refuses its row', async (constraint, insert) => {
  await expect(database.pool.query(insert)).rejects.toMatchObject({ code: '23514', constraint });
});
