import type { ClientBase } from 'pg';
import { TollwayError } from '../errors.ts';

/**
 * The oldest supported major version of PostgreSQL. The ledger's tests run on the oldest and the newest supported version. Required
 * features: multiranges (14), generated columns (12); the tests need `create database … strategy file_copy` (15).
 */
export const POSTGRES_MAJOR_MIN = 15;

/**
 * Queries the version of a server. Throws `unsupported_postgres` if it is too old. The error is retryable, because the clicks themselves
 * are valid: they wait until the server has been upgraded.
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
