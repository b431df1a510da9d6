import fastify from 'fastify';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ErrorCode } from '../../common/error-codes.ts';
import { TollwayError } from '../../common/errors.ts';
import { handleError } from '../../console/api/problem.ts';
import { watermarkRecord } from '../../contract/click-event.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { testDatabase } from '../support/database.ts';
import { TestSpool, unreadableRecord } from '../support/records.ts';
import { testApi } from './api-client.ts';

/** Errors of the broker and of the ledger that a route answers with, and not with 500 `internal`. */

const database = testDatabase();
/** Nothing listens on this port. */
const NOBODY = '127.0.0.1:1';

beforeAll(() => {
  for (const name of ['AWS_REGION', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) vi.stubEnv(name, 'x');
});
afterAll(() => vi.unstubAllEnvs());

describe('the redrive of a dead letter', () => {
  const api = testApi(database);

  it('that holds a watermark gets 409', async () => {
    const spool = new TestSpool();
    await chargeBatch(database.pool, [unreadableRecord(Buffer.from('?'), spool.next())]);
    const { key, value } = watermarkRecord(spool.id, 1);
    await database.pool.query('update dead_letter set raw = $1, record_key = $2', [value, key]);
    const [{ id }] = (await api.send('GET', '/v1/dead-letters')).body.items;
    expect(await api.send('POST', `/v1/dead-letters/${id}/redrive`)).toMatchObject({
      status: 409,
      body: { code: 'is_watermark' },
    });
  });
});

describe('an answer with the status 503', () => {
  const retryAfterOf = async (code: ErrorCode) => {
    const app = fastify();
    app.setErrorHandler(handleError);
    app.get('/', () => {
      throw new TollwayError(code, 'Expected something else');
    });
    const { statusCode, headers } = await app.inject('/');
    expect(statusCode).toBe(503);
    return headers['retry-after'];
  };

  it.each(['busy', 'lost_race', 'no_partition_yet', 'kafka_away', 'kinesis_stream'] as const)(
    'says when to try again after %s',
    async (code) => {
      expect(await retryAfterOf(code)).toBe('1');
    },
  );

  it.each(['no_signing_key', 'replica', 'unsupported_postgres', 'kafka_rights', 'kinesis_login'] as const)(
    'does not say so after %s, which lasts until an operator has removed its cause',
    async (code) => {
      expect(await retryAfterOf(code)).toBeUndefined();
    },
  );
});

describe('an export that begins before the days that the ledger has dropped', () => {
  const api = testApi(database);

  it('gets 410 with the time from which on the ledger has all clicks', async () => {
    await database.pool.query("update ledger_window set settled_floor = '2026-01-31T01:00:00Z'");
    const url = '/v1/exports/clicks?since=2026-01-31T00:00:00Z';
    const refused = { code: 'day_closed', detail: expect.stringContaining('2026-01-31T01:00:00.000Z') };
    expect(await api.send('GET', url)).toMatchObject({ status: 410, body: refused });
  });
});

describe.each([
  ['Kafka', 'kafka_away', { BROKER: 'kafka', KAFKA_BROKERS: NOBODY }],
  ['Kinesis', 'kinesis_away', { BROKER: 'kinesis', KINESIS_ENDPOINT: `http://${NOBODY}` }],
])('the reconciliation while %s is down', (_, code, settings) => {
  const api = testApi(database, settings);

  it('gets 503 with Retry-After', { timeout: 60_000 }, async () => {
    expect(await api.send('GET', '/v1/reconciliation')).toMatchObject({
      ...{ status: 503, headers: { 'retry-after': '1' } },
      body: { code },
    });
  });
});
