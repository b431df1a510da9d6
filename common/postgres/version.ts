import type { ClientBase } from 'pg';
import { TollwayError } from '../errors.ts';

/**
 * The oldest supported major version of PostgreSQL. The ledger's tests run on the oldest and the newest supported version. Required
 * features: multiranges (14), generated columns (12); the tests need `create database … strategy file_copy` (15).
 */
export const POSTGRES_MAJOR_MIN = 15;

/**
 * Queries the version of a server and how it writes dates. Throws `unsupported_postgres` if it is too old, or if its `DateStyle` is not ISO: the
 * day and the month of a date could be exchanged without an error. The session does not set it, because with PgBouncer the setting would stay
 * with a server connection that other clients use next. The error is retryable, because the clicks themselves are valid: they wait until an
 * operator has removed the cause.
 */
export async function assertSupportedServer(connection: ClientBase): Promise<void> {
  const { rows } = await connection.query<Server>(
    `select current_setting('server_version_num') as number, current_setting('server_version') as version,
       current_setting('DateStyle') as "dateStyle"`,
  );
  const { number = '0', version = 'no version', dateStyle = 'no answer' } = rows[0] ?? {};
  if (Math.floor(Number(number) / 10_000) < POSTGRES_MAJOR_MIN)
    throw unsupported(`PostgreSQL ${POSTGRES_MAJOR_MIN} or newer, got ${version}: upgrade the server`);
  if (!dateStyle.startsWith('ISO'))
    throw unsupported(
      `the DateStyle ISO, got ${dateStyle}: set it for the database (alter database … set datestyle = 'ISO')`,
    );
}

type Server = { readonly number: string; readonly version: string; readonly dateStyle: string };

function unsupported(what: string): TollwayError {
  return new TollwayError('unsupported_postgres', `Expected ${what}; clicks wait until then`, {
    retryable: true,
  });
}
