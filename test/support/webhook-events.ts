import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { expect } from 'vitest';
import type { Pool } from '../../common/postgres/postgres.ts';
import { WEBHOOK_EVENT_TYPES } from '../../contract/webhook-event.ts';
import type { NewWebhookEvent } from '../../ledger/webhooks/emit.ts';

const SCHEMAS = join(import.meta.dirname, '..', '..', 'contract', 'webhook-events');
/** The formats are also written as patterns. */
const ajv = new Ajv2020({ strict: true, validateFormats: false, strictTypes: false });

export type EventSchema = { readonly $id: string; readonly examples: readonly { readonly type: string }[] };

/** The JSON Schemas of the events by type. */
export const eventSchemas: ReadonlyMap<string, EventSchema> = new Map(
  WEBHOOK_EVENT_TYPES.map((type) => [
    type,
    JSON.parse(readFileSync(join(SCHEMAS, `${type}.schema.json`), 'utf8')),
  ]),
);
const validators = new Map([...eventSchemas].map(([type, schema]) => [type, ajv.compile(schema)]));

/** Why a payload does not fit the schema of its type; empty if it does. */
export function schemaErrors(payload: { readonly type: string }): string {
  const fits = validators.get(payload.type);
  if (fits === undefined) return `no schema of ${payload.type}`;
  return fits(payload) ? '' : ajv.errorsText(fits.errors);
}

/** Inserts a webhook that nothing is sent to. Returns its id. */
export async function addWebhook(
  pool: Pool,
  settings: { eventTypes?: string[]; advertiserId?: number; status?: string } = {},
): Promise<number> {
  const { eventTypes = [], advertiserId = null, status = 'active' } = settings;
  const { rows } = await pool.query<{ id: number }>(
    `insert into webhook (url, event_types, advertiser_id, status, secret) values ('https://example.com/', $1, $2, $3, 'whsec_')
     returning id`,
    [eventTypes, advertiserId, status],
  );
  return rows[0]?.id ?? 0;
}

/**
 * Returns the events of an advertiser, or all, in the order of their ids, and deletes them with their deliveries. Expects that each fits the
 * schema of its type, and that its data names its advertiser.
 */
export async function takeEvents(pool: Pool, advertiserId: number | null = null): Promise<NewWebhookEvent[]> {
  const { rows } = await pool.query<NewWebhookEvent & { timestamp: Date }>(
    `with taken as (
       delete from webhook_event where $1::integer is null or advertiser_id = $1 returning id, type, advertiser_id, occurred_at, data
     )
     select type, advertiser_id as "advertiserId", occurred_at as timestamp, data from taken order by id`,
    [advertiserId],
  );
  return rows.map(({ timestamp, ...event }) => {
    const { type, data } = event;
    expect(schemaErrors({ ...{ type, data }, timestamp: timestamp.toISOString() } as { type: string })).toBe(
      '',
    );
    if (event.advertiserId !== null) expect(data).toMatchObject({ advertiserId: event.advertiserId });
    return event;
  });
}
