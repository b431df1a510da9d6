import type { ClientBase } from 'pg';
import { TollwayError } from '../errors.ts';

/**
 * The oldest major version of PostgreSQL that Tollway charges on. The ledger's tests run on the oldest and on the newest
 * supported one. What needs 15: `create database … strategy file_copy` of the tests, multiranges (14), generated columns (12).
 */
export const POSTGRES_MAJOR_MIN = 15;

/**
 * Asks a server for its version. Throws `unsupported_postgres` when it is too old. The error is retryable: it says nothing
 * about a click, which waits until the server has been upgraded.
 */
export async function assertSupportedServer(connection: ClientBase): Promise<void> {
  const { rows } = await connection.query<{ number: string; version: string }>(
    `select current_setting('server_version_num') as number, current_setting('server_version') as version`,
  );
  const { number = '0', version = 'no version' } = rows[0] ?? {};
  if (Math.floor(Number(number) / 10_000) >= POSTGRES_MAJOR_MIN) return;
  throw new TollwayError(
    'unsupported_postgres',
    `Expected PostgreSQL ${POSTGRES_MAJOR_MIN} or newer, got ${version}: upgrade the server; clicks wait until then`,
    { retryable: true },
  );
}
