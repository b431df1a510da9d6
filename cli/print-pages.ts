import type { Output } from './context.ts';
import { printNote, type TableRow } from './print.ts';
import { createJsonWriter, createRowWriter } from './row-writer.ts';

/** Rows of a read of the database, unless a list says otherwise. */
const PAGE_ROWS = 1_000;

/** A part of a list. `next`: from where the next part is read; `null`: the list ends here. */
export type ListPart<Item, Position> = {
  readonly items: readonly Item[];
  readonly next: Position | null;
};

/** How a list is read and shown. */
export type List<Item, Position> = {
  /** Reads at most `limit` items. `from`: `next` of the part before, absent for the first part. */
  readonly read: (limit: number, from: Position | undefined) => Promise<ListPart<Item, Position>>;
  /** The rows of a table or of CSV, and of JSON if `toJson` is absent. */
  readonly toRows: (items: readonly Item[]) => readonly TableRow[] | Promise<readonly TableRow[]>;
  /** An item as JSON has it. */
  readonly toJson?: (item: Item) => unknown;
  /** The line for a person if the list is empty. */
  readonly empty: string;
  /** Most rows of a read. */
  readonly pageRows?: number;
  /** What a person is told if the limit is reached and more may follow. */
  readonly more?: string;
};

/**
 * Prints a list of any length, part by part: only the rows of one part are in memory, and of a table those that decide how wide its columns are.
 * Each part is read by a query of its own, so a change in between can be in the list or not; no row is listed twice. If `limit` rows are printed and
 * more follow, a note on standard error says so. Throws what `read` throws; the printed list is then incomplete.
 */
export async function printPages<Item, Position>(
  { read, toRows, toJson, empty, pageRows = PAGE_ROWS, more = 'There are more' }: List<Item, Position>,
  { format, limit = Number.POSITIVE_INFINITY }: Output & { readonly limit?: number },
): Promise<void> {
  const print = format === 'json' && toJson ? jsonPrinter(toJson) : rowPrinter(toRows, { format }, empty);
  let left = limit;
  let part = await read(Math.min(pageRows, left), undefined);
  for (;;) {
    await print.write(part.items);
    left -= part.items.length;
    if (part.next === null || left <= 0) break;
    part = await read(Math.min(pageRows, left), part.next);
  }
  await print.finish();
  if (part.next !== null) printNote(`${more}: --limit lists at most ${limit}`);
}

type Printer<Item> = {
  readonly write: (items: readonly Item[]) => Promise<void>;
  readonly finish: () => Promise<void>;
};

function jsonPrinter<Item>(toJson: (item: Item) => unknown): Printer<Item> {
  const { write, finish } = createJsonWriter();
  return { write: (items) => write(items.map(toJson)), finish };
}

function rowPrinter<Item>(
  toRows: List<Item, unknown>['toRows'],
  output: Output,
  empty: string,
): Printer<Item> {
  const { write, finish } = createRowWriter(output, empty);
  return { write: async (items) => write(await toRows(items)), finish };
}

/**
 * Makes the reads of a list out of a query by ids. `list` reads at most `limit` items beyond `after`, from the first one if it is absent, in the
 * order in which they are printed. It is asked for one more than is printed, so that the end is known exactly.
 */
export function beyondId<Item extends { readonly id: number | bigint }>(
  list: (page: { readonly limit: number; readonly after?: Item['id'] }) => Promise<readonly Item[]>,
): List<Item, Item['id']>['read'] {
  return async (limit, from) => {
    const found = await list({ limit: limit + 1, ...(from === undefined ? {} : { after: from }) });
    const items = found.slice(0, limit);
    return { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : null };
  };
}
