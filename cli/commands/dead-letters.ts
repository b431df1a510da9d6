import { isUtf8 } from 'node:buffer';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { type Connection, isDatabaseUnavailable, type Pool } from '../../common/postgres/postgres.ts';
import { printable } from '../../common/text.ts';
import { changeAs } from '../../ledger/actor.ts';
import {
  type DeadLetter,
  discardDeadLetter,
  lastDeadLetterId,
  listDeadLetterIds,
  listDeadLetters,
  readDeadLetter,
} from '../../ledger/charge/dead-letters.ts';
import { redrive } from '../../processor/charge/redrive.ts';
import { explainCommit } from '../commit-unknown.ts';
import { cliActor, command, group, type Output, rowsCommand, withDatabase } from '../context.ts';
import { parseCount } from '../parse.ts';
import { printJson, printLine, printRows } from '../print.ts';
import { beyondId, printPages } from '../print-pages.ts';

/** Ids that `--all` reads at once. */
const PAGE_LETTERS = 1_000;

function parseLetterId(text: string): bigint {
  if (!/^[1-9]\d{0,17}$/.test(text))
    throw new TollwayError('bad_id', `Expected the id of a dead letter, got "${text}"`);
  return BigInt(text);
}

function toRow({ id, reason, clickId, recordKey, settledAt, detail, ...click }: DeadLetter) {
  const { adId, adName, advertiserId, advertiserName } = click;
  return {
    ...{ id: String(id), reason, clickId, adId, adName, advertiserId, advertiserName, recordKey },
    settledAt: settledAt.toISOString(),
    detail,
  };
}

/** Result for one dead letter; `failed` has the error as its reason. */
type Row = { readonly id: string; readonly outcome: string; readonly reason: string | null };

/**
 * Calls `act` for each of the chosen dead letters, in a transaction each, and continues after a failure. Stops if the database does not answer:
 * the last row is then the dead letter at which this happened.
 */
async function each(
  pool: Pool,
  ids: readonly bigint[],
  all: boolean | undefined,
  act: (connection: Connection, id: bigint) => Promise<{ outcome: string; reason: string | null }>,
): Promise<Row[]> {
  if (ids.length > 0 === (all === true)) {
    throw new TollwayError('bad_options', `Expected ids or --all, got ${all ? 'both' : 'neither'}`);
  }
  const rows: Row[] = [];
  for await (const id of all ? openIds(pool) : ids) {
    try {
      rows.push({
        id: String(id),
        ...(await changeAs(pool, cliActor(), (connection) => act(connection, id))),
      });
    } catch (error) {
      const reason = errorMessage(explainCommit(error, 'Repeat the command: no click is charged twice'));
      rows.push({ id: String(id), outcome: 'failed', reason });
      if (isDatabaseUnavailable(error)) break;
    }
  }
  if (rows.some(({ outcome }) => outcome === 'rejected' || outcome === 'failed')) process.exitCode = 1;
  return rows;
}

/** The ids of all dead letters that are open at the start, a page at a time. */
async function* openIds(pool: Pool): AsyncGenerator<bigint> {
  const last = await lastDeadLetterId(pool);
  for (let after = 0n; after < last; ) {
    const page = await listDeadLetterIds(pool, after, PAGE_LETTERS);
    yield* page.filter((id) => id <= last);
    after = page.at(-1) ?? last;
  }
}

/** Counts of the outcomes, as in `3 charged, 1 failed`. */
function summaryOf(rows: readonly Row[]): string {
  const counts = new Map<string, number>();
  for (const { outcome } of rows) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  return [...counts].map(([outcome, count]) => `${count} ${outcome}`).join(', ');
}

const list = rowsCommand(
  'list',
  'List rejected records that are neither redriven nor discarded, oldest first',
  ['dead-letters list --limit 20'],
)
  .option('--limit <n>', 'number of rows at most', parseCount, 100)
  .action(async (options: Output & { limit: number }) => {
    await withDatabase((pool) =>
      printPages(
        {
          read: beyondId<DeadLetter>((page) => listDeadLetters(pool, page)),
          toRows: (letters) => letters.map(toRow),
          empty: 'There are no dead letters.',
        },
        options,
      ),
    );
  });

const show = command('show', 'Show a rejected record with its raw bytes', ['dead-letters show 1'])
  .argument('<id>', 'id of the dead letter', parseLetterId)
  .action(async (id: bigint, { format }: Output) => {
    await withDatabase(async (pool) => {
      const letter = await readDeadLetter(pool, id);
      const raw = letter.raw?.toString('base64') ?? null;
      if (format === 'json')
        return printJson({ ...toRow(letter), discardedAt: letter.discardedAt?.toISOString() ?? null, raw });
      for (const [name, value] of Object.entries(toRow(letter)))
        printLine(`${name.padEnd(14)} ${printable(String(value ?? ''))}`.trimEnd());
      if (letter.discardedAt !== null) printLine(`discardedAt    ${letter.discardedAt.toISOString()}`);
      const isText = letter.raw === null || isUtf8(letter.raw);
      const text = isText ? printable(letter.raw?.toString('utf8') ?? '(none)') : raw;
      printLine(`${(isText ? 'raw' : 'raw in base64').padEnd(14)} ${text}`);
    });
  });

const redriveCommand = rowsCommand(
  'redrive',
  'Settle rejected records again, after the cause of the rejection was removed. Continues after a failure',
  ['dead-letters redrive 1 2 3', 'dead-letters redrive --all'],
  'a record failed or was rejected again',
)
  .argument('[id...]', 'ids of dead letters', (text: string, ids: bigint[] = []) => [
    ...ids,
    parseLetterId(text),
  ])
  .option('--all', 'all dead letters that are neither redriven nor discarded')
  .action(async (ids: bigint[] = [], { all, format }: Output & { all?: boolean }) => {
    await withDatabase(async (pool) => {
      const rows = await each(pool, ids, all, redrive);
      printRows(rows, { format }, 'There are no dead letters.');
      if (format === 'table' && rows.length > 1) printLine(summaryOf(rows));
    });
  });

const discardCommand = rowsCommand(
  'discard',
  'Delete the raw bytes of rejected records; the clicks stay rejected. Continues after a failure',
  ['dead-letters discard 1', 'dead-letters discard --all'],
  'a record failed',
)
  .argument('[id...]', 'ids of dead letters', (text: string, ids: bigint[] = []) => [
    ...ids,
    parseLetterId(text),
  ])
  .option('--all', 'all dead letters that are neither redriven nor discarded')
  .action(async (ids: bigint[] = [], { all, format }: Output & { all?: boolean }) => {
    await withDatabase(async (pool) => {
      const rows = await each(pool, ids, all, async (connection, id) => {
        await discardDeadLetter(connection, id);
        return { outcome: 'discarded', reason: null };
      });
      if (format !== 'table') return printRows(rows, { format }, '');
      for (const { id, outcome, reason } of rows) if (outcome === 'failed') printLine(`${id}: ${reason}`);
      printLine(rows.length === 0 ? 'There are no dead letters.' : summaryOf(rows));
    });
  });

export const deadLetters = group('dead-letters', 'Manage rejected records and their raw bytes', [
  list,
  show,
  redriveCommand,
  discardCommand,
]);
