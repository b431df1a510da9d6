import { databaseAnswers } from '../../common/postgres.ts';
import { command, withDatabase } from '../command.ts';
import { printJson, printTable } from '../print.ts';

const READY = 'ready';

/** For screens and logs; `--json` has the whole of it. */
function withoutPassword(databaseUrl: string): string {
  const url = new URL(databaseUrl);
  if (url.password !== '') url.password = '…';
  return decodeURI(url.href);
}

async function health(opsUrl: string): Promise<string> {
  const response = await fetch(`${opsUrl}/readyz`, { signal: AbortSignal.timeout(3_000) }).catch(() => null);
  if (response === null) return 'does not answer';
  return response.ok ? READY : (await response.text()).trim().replaceAll('\n', ' ');
}

export const status = command(
  'status',
  'Where things are, and whether they are well: exit code 1 if one is not',
  ['status', 'status --json'],
).action(async ({ json }: { json?: boolean }) => {
  await withDatabase(async (pool, { stack }) => {
    if (json) {
      const { KAFKA_PASSWORD: _, ...settings } = stack.settings;
      return printJson({ ...stack, settings });
    }
    const [adServer, processor, database] = await Promise.all([
      health(stack.adServerOpsUrl),
      health(stack.processorOpsUrl),
      databaseAnswers(pool),
    ]);
    printTable(
      [
        { part: 'ad server', address: stack.adServerUrl, health: adServer },
        { part: 'ad server operations', address: stack.adServerOpsUrl, health: '' },
        { part: 'processor operations', address: stack.processorOpsUrl, health: processor },
        {
          part: 'database',
          address: withoutPassword(stack.databaseUrl),
          health: database ? 'ready' : 'does not answer',
        },
        { part: 'broker', address: stack.broker, health: '' },
        { part: 'data folder', address: stack.dataDir, health: '' },
      ],
      '',
    );
    if (adServer !== READY || processor !== READY || !database) process.exitCode = 1;
  });
});
