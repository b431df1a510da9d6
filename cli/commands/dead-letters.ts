import { errorMessage, TollwayError } from '../../common/errors.ts';
import { isAway, type Pool } from '../../common/postgres/postgres.ts';
import { printable } from '../../common/text.ts';
import {
  type DeadLetter,
  discardDeadLetter,
  lastDeadLetterId,
  listDeadLetterIds,
  listDeadLetters,
  readDeadLetter,
} from '../../ledger/dead-letters.ts';
import { redrive } from '../../processor/charge/redrive.ts';
import { command, group, withDatabase } from '../context.ts';
import { parseCount } from '../parse.ts';
import { printJson, printLine, printTable } from '../print.ts';

type Json = { json?: boolean };

/** Ids that `--all` reads at once. */
const PAGE_LETTERS = 1_000;

function parseLetterId(text: string): bigint {
  if (!/^[1-9]\d{0,17}$/.test(text))
    throw new TollwayError('bad_id', `Expected the id of a dead letter, got "${text}"`);
  return BigInt(text);
}

function toRow({ id, reason, clickId, adId, recordKey, settledAt, detail }: DeadLetter) {
  return { id: String(id), reason, clickId, adId, recordKey, settledAt: settledAt.toISOString(), detail };
}

/** What became of one letter; `failed` with what is wrong as its reason. */
type Row = { readonly id: string; readonly outcome: string; readonly reason: string | null };

/**
 * Does something to each of the chosen letters, and goes on where it fails for one. Stops where the database cannot be reached:
 * the answer then ends with the letter that met it.
 */
async function each(
  pool: Pool,
  ids: readonly bigint[],
  all: boolean | undefined,
  act: (id: bigint) => Promise<{ outcome: string; reason: string | null }>,
): Promise<Row[]> {
  if (ids.length > 0 === (all === true)) {
    throw new TollwayError('bad_options', `Expected ids or --all, got ${all ? 'both' : 'neither'}`);
  }
  const rows: Row[] = [];
  for await (const id of all ? waitingIds(pool) : ids) {
    try {
      rows.push({ id: String(id), ...(await act(id)) });
    } catch (error) {
      rows.push({ id: String(id), outcome: 'failed', reason: errorMessage(error) });
      if (isAway(error)) break;
    }
  }
  if (rows.some(({ outcome }) => outcome === 'rejected' || outcome === 'failed')) process.exitCode = 1;
  return rows;
}

/** The ids of all letters that wait when this begins, a page at a time. */
async function* waitingIds(pool: Pool): AsyncGenerator<bigint> {
  const last = await lastDeadLetterId(pool);
  for (let after = 0n; after < last; ) {
    const page = await listDeadLetterIds(pool, after, PAGE_LETTERS);
    yield* page.filter((id) => id <= last);
    after = page.at(-1) ?? last;
  }
}

/** What became of how many, as in `3 charged, 1 failed`. */
function summaryOf(rows: readonly Row[]): string {
  const counts = new Map<string, number>();
  for (const { outcome } of rows) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  return [...counts].map(([outcome, count]) => `${count} ${outcome}`).join(', ');
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
      const rows = await each(pool, ids, all, (id) => redrive(pool, id));
      if (json) return printJson(rows);
      printTable(rows, 'There are no dead letters.');
      if (rows.length > 1) printLine(summaryOf(rows));
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
      const rows = await each(pool, ids, all, async (id) => {
        await discardDeadLetter(pool, id);
        return { outcome: 'discarded', reason: null };
      });
      if (json) return printJson(rows);
      for (const { id, outcome, reason } of rows) if (outcome === 'failed') printLine(`${id}: ${reason}`);
      printLine(rows.length === 0 ? 'There are no dead letters.' : summaryOf(rows));
    });
  });

export const deadLetters = group('dead-letters', 'Rejected records and their raw bytes', [
  list,
  show,
  redriveCommand,
  discardCommand,
]);
