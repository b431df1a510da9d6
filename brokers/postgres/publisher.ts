import type { Pool } from '../../common/postgres/postgres.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import type { Publisher } from '../publisher.ts';
import { encodeChunk } from './chunk.ts';

/**
 * Publishes to the Postgres broker: one row of `broker_chunk` for all records of a call. With a row a batch instead of a row a click, the
 * broker takes a fraction of a percent of the cost of a click.
 */
export function createPostgresPublisher(pool: Pool): Publisher {
  const insert = async (records: readonly BrokerRecord[]) => {
    await pool.query('insert into broker_chunk (record_count, payload) values ($1, $2)', [
      records.length,
      encodeChunk(records),
    ]);
  };
  return {
    publish: async (records) => {
      await insert(records);
      return [];
    },
    publishEverywhere: (record) => insert([record]),
    close: async () => {},
  };
}
