import { TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres.ts';
import { printable } from '../../common/text.ts';
import {
  type DeadLetter,
  discard,
  listDeadLetters,
  readDeadLetter,
  redrive,
} from '../../processor/redrive.ts';
import { command, group, withDatabase } from '../command.ts';
import { parseCount } from '../parse.ts';
import { printJson, printLine, printTable } from '../print.ts';

type Json = { json?: boolean };

/** Letters redriven or discarded by `--all` at once. */
const ALL_MAX = 1_000_000;

function parseLetterId(text: string): bigint {
  if (!/^[1-9]\d{0,17}$/.test(text))
    throw new TollwayError('bad_id', `Expected the id of a dead letter, got "${text}"`);
  return BigInt(text);
}

function toRow({ id, reason, clickId, adId, recordKey, settledAt, detail }: DeadLetter) {
  return { id: String(id), reason, clickId, adId, recordKey, settledAt: settledAt.toISOString(), detail };
}

async function chosen(
  pool: Pool,
  ids: readonly bigint[],
  all: boolean | undefined,
): Promise<readonly bigint[]> {
  if (ids.length > 0 === (all === true)) {
    throw new TollwayError('bad_options', `Expected ids or --all, got ${all ? 'both' : 'neither'}`);
  }
  return all ? (await listDeadLetters(pool, ALL_MAX)).map(({ id }) => id) : ids;
}

const list = command('list', 'Rejected records that wait, oldest first', ['dead-letters list --limit 20'])
  .option('--limit <n>', 'how many', parseCount, 100)
  .action(async ({ limit, json }: Json & { limit: number }) => {
    await withDatabase(async (pool) => {
      const rows = (await listDeadLetters(pool, limit)).map(toRow);
      if (json) printJson(rows);
      else printTable(rows, 'There are no dead letters.');
    });
  });

const show = command('show', 'One rejected record with its raw bytes', ['dead-letters show 1'])
  .argument('<id>', 'the dead letter', parseLetterId)
  .action(async (id: bigint, { json }: Json) => {
    await withDatabase(async (pool) => {
      const letter = await readDeadLetter(pool, id);
      const raw = letter.raw?.toString('base64') ?? null;
      if (json)
        return printJson({ ...toRow(letter), discardedAt: letter.discardedAt?.toISOString() ?? null, raw });
      for (const [name, value] of Object.entries(toRow(letter)))
        printLine(`${name.padEnd(10)} ${printable(String(value ?? ''))}`);
      printLine(`raw        ${letter.raw === null ? '(none)' : printable(letter.raw.toString('utf8'))}`);
    });
  });

const redriveCommand = command(
  'redrive',
  'Settle rejected records anew, after what was wrong has been put right',
  ['dead-letters redrive 1 2 3', 'dead-letters redrive --all'],
)
  .argument('[id...]', 'the dead letters', (text: string, ids: bigint[] = []) => [
    ...ids,
    parseLetterId(text),
  ])
  .option('--all', 'all that wait')
  .action(async (ids: bigint[] = [], { all, json }: Json & { all?: boolean }) => {
    await withDatabase(async (pool) => {
      const rows: { id: string; outcome: string; reason: string | null }[] = [];
      for (const id of await chosen(pool, ids, all)) {
        const { outcome, reason } = await redrive(pool, id);
        rows.push({ id: String(id), outcome, reason });
      }
      if (json) printJson(rows);
      else printTable(rows, 'There are no dead letters.');
      if (rows.some(({ outcome }) => outcome === 'rejected')) process.exitCode = 1;
    });
  });

const discardCommand = command('discard', 'Give up the raw bytes; the clicks stay rejected', [
  'dead-letters discard 1',
])
  .argument('[id...]', 'the dead letters', (text: string, ids: bigint[] = []) => [
    ...ids,
    parseLetterId(text),
  ])
  .option('--all', 'all that wait')
  .action(async (ids: bigint[] = [], { all, json }: Json & { all?: boolean }) => {
    await withDatabase(async (pool) => {
      const letters = await chosen(pool, ids, all);
      for (const id of letters) await discard(pool, id);
      if (json) printJson(letters.map(String));
      else printLine(`${letters.length} discarded`);
    });
  });

export const deadLetters = group('dead-letters', 'Rejected records and their raw bytes', [
  list,
  show,
  redriveCommand,
  discardCommand,
]);
