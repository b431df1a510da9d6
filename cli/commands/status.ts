import { createPool, databaseAnswers, terminatePool } from '../../common/postgres/postgres.ts';
import { findContext, type Output, rowsCommand } from '../context.ts';
import { printJson, printRows } from '../print.ts';

const READY = 'ready';
/** Longest wait for a part or for the database, in ms. */
const ANSWER_MS_MAX = 3_000;

/** The health of a part: `ready`, or the problem, in one line. */
type Health = string;

/** The URL without the password, for terminals and logs; `--json` prints all of it. */
function withoutPassword(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  if (url.password !== '') url.password = '…';
  return decodeURI(url.href);
}

/** Queries `/readyz` of a part. A ready part can add warnings, such as a broker that accepts no clicks; it then counts as not ready. */
async function queryPart(opsUrl: string): Promise<Health> {
  try {
    const response = await fetch(`${opsUrl}/readyz`, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    return (await response.text()).trim().replaceAll('\n', ' ');
  } catch {
    return 'does not answer';
  }
}

async function queryDatabase(url: string): Promise<Health> {
  const pool = createPool(url, 'cli', 1, () => {}, ANSWER_MS_MAX, ANSWER_MS_MAX);
  const answers = await databaseAnswers(pool);
  // Closing the pool normally would wait for a server that hangs.
  await terminatePool(pool);
  return answers ? READY : 'does not answer';
}

export const status = rowsCommand(
  'status',
  'Show the addresses of all parts and whether they are ready',
  ['status', 'status --json'],
  'a part or the database is not ready, or a ready ad server reports a warning',
).action(async ({ format }: Output) => {
  const { stack } = findContext();
  const [adServer, processor, database] = await Promise.all([
    queryPart(stack.adServerOpsUrl),
    queryPart(stack.processorOpsUrl),
    queryDatabase(stack.databaseUrl),
  ]);
  if ([adServer, processor, database].some((health) => health !== READY)) process.exitCode = 1;
  if (format === 'json') {
    const { KAFKA_PASSWORD: _, ...settings } = stack.settings;
    return printJson({ ...stack, settings, health: { adServer, processor, database } });
  }
  printRows(
    [
      { part: 'ad server', address: stack.adServerUrl, health: adServer },
      { part: 'ad server operations', address: stack.adServerOpsUrl, health: '' },
      { part: 'processor operations', address: stack.processorOpsUrl, health: processor },
      { part: 'database', address: withoutPassword(stack.databaseUrl), health: database },
      { part: 'broker', address: stack.broker, health: '' },
      { part: 'data folder', address: stack.dataDir, health: '' },
    ],
    { format },
    '',
  );
});
