import type { Config } from '../../common/config/config.ts';
import { withDeadline } from '../../common/deadline.ts';
import { errorMessage } from '../../common/errors.ts';
import { partAddresses } from '../../common/part-addresses.ts';
import { type Health, NO_ANSWER, queryPart, READY } from '../../common/part-health.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { type Part, readParts } from '../../ledger/operations/parts.ts';
import { healthOf } from '../../ledger/operations/parts-health.ts';
import { judgeParts, type ReportingState, reportsOfOthers } from '../../ledger/operations/reporting-state.ts';

/** Longest wait for the database, in ms. */
const ANSWER_MS_MAX = 2_000;

/** The health of the parts of all hosts, in one line each. */
export type PartsHealth = {
  readonly adServer: Health;
  readonly processor: Health;
  readonly database: Health;
};

/**
 * Creates a function that reads the reports of the parts. Where there is none, or while the database does not answer, it asks the operations port of
 * the settings. It never rejects and takes at most some seconds.
 */
export function healthReader(
  pool: Pool,
  config: Config,
  reportingState?: () => ReportingState,
): () => Promise<PartsHealth> {
  const { adServerOpsUrl, processorOpsUrl } = partAddresses(config);
  return async () => {
    const { parts, database } = await readPartsFrom(pool, reportingState);
    const [adServer, processor] = await Promise.all([
      healthOf(parts, 'ad-server') ?? queryPart(adServerOpsUrl),
      healthOf(parts, 'processor') ?? queryPart(processorOpsUrl),
    ]);
    return { adServer, processor, database };
  };
}

async function readPartsFrom(
  pool: Pool,
  reportingState?: () => ReportingState,
): Promise<{ readonly parts: readonly Part[]; readonly database: Health }> {
  try {
    const { asOf, parts } = await withDeadline(readParts(pool), ANSWER_MS_MAX, 'The database');
    const reports = reportingState?.() ?? reportsOfOthers(asOf, parts);
    const database =
      reports.failure === null ? READY : `gets no reports of the parts: ${reports.failure.reason}`;
    return { parts: judgeParts(parts, reports), database };
  } catch (error) {
    return { parts: [], database: `${NO_ANSWER}: ${errorMessage(error)}` };
  }
}
