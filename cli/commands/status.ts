import { type Health, queryDatabase, queryPart, READY } from '../../common/part-health.ts';
import { createPool, terminatePool } from '../../common/postgres/postgres.ts';
import { findContext, type Output, rowsCommand } from '../context.ts';
import { printJson, printRows } from '../print.ts';

/** Longest wait for the database, in ms. */
const ANSWER_MS_MAX = 3_000;

/** The URL without the password, for terminals and logs; `--json` prints all of it. */
function withoutPassword(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  if (url.password !== '') url.password = '…';
  return decodeURI(url.href);
}

async function queryDatabaseAt(url: string): Promise<Health> {
  const pool = createPool(url, 'cli', 1, () => {}, ANSWER_MS_MAX, ANSWER_MS_MAX);
  const health = await queryDatabase(pool);
  // Closing the pool normally would wait for a server that hangs.
  await terminatePool(pool);
  return health;
}

export const status = rowsCommand(
  'status',
  'Show the addresses of the parts of this host and whether they are ready',
  ['status', 'status --json'],
  'a part or the database is not ready, or a ready part reports a warning',
).action(async ({ format }: Output) => {
  const { stack } = findContext();
  const [adServer, processor, console, database] = await Promise.all([
    queryPart(stack.adServerOpsUrl),
    queryPart(stack.processorOpsUrl),
    queryPart(stack.consoleOpsUrl),
    queryDatabaseAt(stack.databaseUrl),
  ]);
  const health = { adServer, processor, console, database };
  if (Object.values(health).some((one) => one !== READY)) process.exitCode = 1;
  if (format === 'json') {
    const { KAFKA_PASSWORD: _, ...settings } = stack.settings;
    return printJson({ ...stack, settings, health });
  }
  printRows(
    [
      { part: 'ad server', address: stack.adServerUrl, health: adServer },
      { part: 'ad server operations', address: stack.adServerOpsUrl, health: '' },
      { part: 'processor operations', address: stack.processorOpsUrl, health: processor },
      { part: 'console', address: stack.consoleUrl, health: console },
      { part: 'console operations', address: stack.consoleOpsUrl, health: '' },
      { part: 'database', address: withoutPassword(stack.databaseUrl), health: database },
      { part: 'broker', address: stack.broker, health: '' },
      { part: 'data folder', address: stack.dataDir, health: '' },
    ],
    { format },
    '',
  );
});
