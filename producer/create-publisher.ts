import type { Config } from '../common/config.ts';
import { TollwayError } from '../common/errors.ts';
import type { Pool } from '../common/postgres.ts';
import { createPostgresPublisher } from './postgres-publisher.ts';
import type { Publisher } from './publisher.ts';

/** Makes the publisher that `BROKER` names. Throws `unsupported_broker`. */
export function createPublisher(config: Config, pool: Pool): Publisher {
  if (config.BROKER === 'postgres') return createPostgresPublisher(pool);
  throw new TollwayError(
    'unsupported_broker',
    `BROKER: expected postgres, got "${config.BROKER}", which is not there yet`,
  );
}
