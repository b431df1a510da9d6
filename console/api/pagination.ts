import * as z from 'zod';
import { ID_MAX } from '../../contract/click-event.ts';
import { textCodec } from './schemas.ts';

const LIMIT_MAX = 500;
const LIMIT_DEFAULT = 100;

const Limit = textCodec(z.int(), parseLimit, String).default(LIMIT_DEFAULT).meta({
  type: 'integer',
  minimum: 1,
  maximum: LIMIT_MAX,
  default: LIMIT_DEFAULT,
  description: 'Most items in the answer.',
});

/** The id of the last item of the page before. It is opaque to clients. */
const Cursor = textCodec(z.bigint(), parseCursor, writeCursor).meta({
  description: '`nextCursor` of the page before. Without it, the list begins at its start.',
});

/** The query of a list: `limit`, `cursor`, and the filters of the list. Other parameters are errors. */
export function listQuery<T extends z.ZodRawShape>(filters: T) {
  return z.strictObject({ limit: Limit, cursor: Cursor.optional(), ...filters });
}

/** The answer of a list. `name` names its schema. */
export function pageOf<T extends z.ZodType>(name: string, item: T) {
  const nextCursor = z
    .string()
    .nullable()
    .meta({ description: '`cursor` of the next page; `null` after the last one.' });
  return z.strictObject({ items: z.array(item), nextCursor }).meta({ id: name });
}

/** The answer of a list, before it is encoded. */
export type Page<T> = { items: T[]; nextCursor: string | null };

/** The part of the query that chooses the page. */
type PageQuery = { readonly limit: number; readonly cursor?: bigint | undefined };

/** Reads a page of a list whose ids are of PostgreSQL's type `bigint`. `read` returns rows with ids above `after`, ordered by id. */
export async function readBigPage<T extends { readonly id: number | bigint }>(
  { limit, cursor }: PageQuery,
  read: (range: { after: bigint; limit: number }) => Promise<T[]>,
): Promise<Page<T>> {
  // One row more than the limit tells whether there is a next page.
  const rows = await read({ after: cursor ?? 0n, limit: limit + 1 });
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, nextCursor: rows.length > limit && last ? writeCursor(BigInt(last.id)) : null };
}

/** Reads a page of a list that is ordered by descending id. `read` returns rows with ids below `after`, if it is given. */
export function readPageBelow<T extends { readonly id: bigint }>(
  { limit, cursor }: PageQuery,
  read: (range: { after?: bigint; limit: number }) => Promise<T[]>,
): Promise<Page<T>> {
  return readBigPage({ limit, cursor }, (range) =>
    read(cursor === undefined ? { limit: range.limit } : range),
  );
}

/** Reads a page of a list whose ids are of PostgreSQL's type `integer`, as {@link readBigPage} does. */
export function readPage<T extends { readonly id: number }>(
  query: PageQuery,
  read: (range: { after: number; limit: number }) => Promise<T[]>,
): Promise<Page<T>> {
  return readBigPage(query, ({ after, limit }) => read({ after: Math.min(Number(after), ID_MAX), limit }));
}

function parseLimit(text: string): number {
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN;
  if (limit >= 1 && limit <= LIMIT_MAX) return limit;
  throw new RangeError(`Expected a whole number of 1–${LIMIT_MAX}, got "${text}"`);
}

function parseCursor(text: string): bigint {
  const id = Buffer.from(text, 'base64url').toString('latin1');
  if (/^\d{1,18}$/.test(id) && writeCursor(BigInt(id)) === text) return BigInt(id);
  throw new RangeError(`Expected nextCursor of a page, got "${text}"`);
}

function writeCursor(id: bigint): string {
  return Buffer.from(String(id)).toString('base64url');
}
