import type { Config } from '../../common/config/config.ts';
import { partAddresses } from '../../common/part-addresses.ts';
import { type Health, queryDatabase, queryPart } from '../../common/part-health.ts';
import type { Pool } from '../../common/postgres/postgres.ts';

/** The health of each part, as the console finds it at the operations ports of the settings. */
export type PartsHealth = {
  readonly adServer: Health;
  readonly processor: Health;
  readonly database: Health;
};

/** Creates a function that queries the parts and the database. It never rejects and takes at most some seconds. */
export function healthReader(pool: Pool, config: Config): () => Promise<PartsHealth> {
  const { adServerOpsUrl, processorOpsUrl } = partAddresses(config);
  return async () => {
    const [adServer, processor, database] = await Promise.all([
      queryPart(adServerOpsUrl),
      queryPart(processorOpsUrl),
      queryDatabase(pool),
    ]);
    return { adServer, processor, database };
  };
}
