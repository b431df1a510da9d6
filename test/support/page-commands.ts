import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { ROOT } from './imports.ts';
import type { TestStack } from './stack.ts';
import { until } from './until.ts';

// For tests that run all commands of a page in their order.

/** The files that commands write: a name of a page becomes a file in the folder of the test. */
const FILES = /(?<![\w-])[\w-]+\.(csv|json|mjs|txt)\b/g;

/** What a block of commands has printed, and its exit code: `null` after a signal. */
export type Printed = { readonly output: string; readonly errors: string; readonly code: number | null };

/** Runs a block of commands by bash until it ends, with its files in `folder`. */
export async function runCommands(
  commands: string,
  folder: string,
  env: NodeJS.ProcessEnv,
): Promise<Printed> {
  const script = commands.replaceAll(FILES, `"${folder}"/$&`);
  const child = spawn('bash', ['-e', '-o', 'pipefail', '-c', script], { cwd: ROOT, env });
  const [output, errors, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close'),
  ]);
  return { output, errors, code };
}

/** Waits until every accepted click is settled and the books balance. */
export function untilSettled(stack: TestStack): Promise<boolean> {
  return until(
    'settled books',
    async () => (await stack.tollway('reconcile', '--settled')).code === 0,
    60_000,
  );
}

/** Waits if the day in Berlin ends within three minutes: the daily cap would begin again. */
export async function untilDayIsLong(): Promise<void> {
  const minutes = () => {
    const [hour, minute] = new Intl.DateTimeFormat('en-GB', {
      timeZone: 'Europe/Berlin',
      hour: '2-digit',
      minute: '2-digit',
    })
      .format()
      .split(':');
    return Number(hour) * 60 + Number(minute);
  };
  await until('the next day in Berlin', () => minutes() < 24 * 60 - 3, 200_000);
}
