import type { Connection } from '../../common/postgres/postgres.ts';
import { writeUuid } from '../../common/uuid.ts';
import { copyIn } from './copy-in.ts';

/** `PGCOPY` signature, flags and header extension; https://www.postgresql.org/docs/18/sql-copy.html */
const COPY_HEADER = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
/** Microseconds between the Unix epoch and PostgreSQL's, 2000-01-01. */
const POSTGRES_EPOCH_MICROS = 946_684_800_000_000;

/** The only version of the binary format of `jsonb`. */
const JSONB_VERSION = 1;

/** Sent buffers, kept for reuse: growing a new buffer to the size of a batch costs more than filling it. */
const spares: Buffer[] = [];
/** The three tables of two lanes. */
const SPARES_MAX = 6;
const SPARE_BYTES_MAX = 4_194_304;

/** Longest text that `writeShort` encodes, in characters. */
const SHORT_MAX = 24;

function takeSpare(): Buffer {
  return spares.pop() ?? Buffer.allocUnsafe(65_536);
}

/**
 * Encodes rows in PostgreSQL's binary `COPY` format into one growing buffer.
 * Begin each row with `row`, then write its columns in the order of the statement.
 */
export class CopyRows {
  private buffer = takeSpare();
  // A view of the same bytes: V8 compiles DataView writes to single instructions, Buffer writes are function calls.
  private view = viewOf(this.buffer);
  private at = COPY_HEADER.copy(this.buffer, 0);
  private readonly columns: number;
  /** Where the first column of the current row begins. */
  private rowAt = 0;
  private sharedId: string | null = null;
  private readonly sharedBytes = Buffer.alloc(16);

  constructor(columns: number) {
    this.columns = columns;
  }

  row(): void {
    this.reserve(2);
    this.view.setInt16(this.at, this.columns);
    this.at += 2;
    this.rowAt = this.at;
  }

  null(): void {
    this.reserve(4);
    this.length(-1);
  }

  /** A UUID or null. Parsed only if it differs from the last one: for a value that many rows share. */
  sharedUuid(id: string | null): void {
    if (id !== this.sharedId && id !== null) {
      writeUuid(this.sharedBytes, id, 0);
      this.sharedId = id;
    }
    if (id === null) this.null();
    else {
      this.field(16);
      for (let byte = 0; byte < 16; byte += 1) this.buffer[this.at + byte] = this.sharedBytes[byte] ?? 0;
      this.at += 16;
    }
  }

  /** The UUID in the first column of the current row of `other`, without parsing its text again. */
  uuidOf(other: CopyRows): void {
    this.field(16);
    const from = other.rowAt + 4;
    for (let byte = 0; byte < 16; byte += 4)
      this.view.setInt32(this.at + byte, other.view.getInt32(from + byte));
    this.at += 16;
  }

  /** A canonical UUID, or null. */
  uuid(id: string | null): void {
    if (id === null) this.null();
    else {
      this.field(16);
      writeUuid(this.buffer, id, this.at);
      this.at += 16;
    }
  }

  /** A UUID of four 32-bit integers. */
  uuidWords(a: number, b: number, c: number, d: number): void {
    this.field(16);
    this.view.setInt32(this.at, a);
    this.view.setInt32(this.at + 4, b);
    this.view.setInt32(this.at + 8, c);
    this.view.setInt32(this.at + 12, d);
    this.at += 16;
  }

  /** A 32-bit integer. Throws on other numbers, of which a DataView would write the lowest 32 bits. */
  int4(value: number): void {
    if ((value | 0) !== value) throw new RangeError(`Expected a 32-bit integer, got ${value}`);
    this.field(4);
    this.view.setInt32(this.at, value);
    this.at += 4;
  }

  /** A safe integer, a bigint of 64 bits, or null. Throws on other numbers. */
  int8(value: number | bigint | null): void {
    if (value === null) this.null();
    else if (typeof value === 'bigint') {
      if (BigInt.asIntN(64, value) !== value) throw new RangeError(`Expected a 64-bit integer, got ${value}`);
      this.field(8);
      this.at = this.buffer.writeBigInt64BE(value, this.at);
    } else {
      if (!Number.isSafeInteger(value)) throw new RangeError(`Expected a safe integer, got ${value}`);
      this.field(8);
      this.writeSafeInteger(value);
    }
  }

  /** A 64-bit integer: the signed high and the unsigned low half. */
  int8Halves(high: number, low: number): void {
    this.field(8);
    this.view.setInt32(this.at, high);
    this.view.setUint32(this.at + 4, low);
    this.at += 8;
  }

  /** Unix ms as `timestamptz`. */
  timestamp(timeMs: number): void {
    this.field(8);
    this.writeSafeInteger(timeMs * 1_000 - POSTGRES_EPOCH_MICROS);
  }

  /** Text, an enum label, or null. Writes at most `charsMax` characters, without those that PostgreSQL cannot store. */
  text(value: string | null, charsMax = Number.POSITIVE_INFINITY): void {
    if (value === null) this.null();
    else {
      this.reserve(4 + Math.min(value.length, charsMax) * 3);
      const length = this.writeShort(value, this.at + 4) ?? this.writeLong(value, charsMax);
      this.length(length);
      this.at += length;
    }
  }

  /** An object of texts as `jsonb`, or null. https://github.com/postgres/postgres/blob/REL_18_STABLE/src/backend/utils/adt/jsonb.c (`jsonb_recv`) */
  jsonb(texts: Readonly<Record<string, string>> | null): void {
    if (texts === null) this.null();
    else {
      const storable = Object.entries(texts).map(([name, text]) => [storableText(name), storableText(text)]);
      const json = Buffer.from(JSON.stringify(Object.fromEntries(storable)));
      this.field(1 + json.length);
      this.buffer[this.at] = JSONB_VERSION;
      json.copy(this.buffer, this.at + 1);
      this.at += 1 + json.length;
    }
  }

  /** Writes a short ASCII text, such as an enum label, faster than the native `write`. Returns `null` for other texts. */
  private writeShort(text: string, at: number): number | null {
    if (text.length > SHORT_MAX) return null;
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index);
      if (code > 127 || code === 0) return null;
      this.buffer[at + index] = code;
    }
    return text.length;
  }

  private writeLong(text: string, charsMax: number): number {
    const cut = text.length > charsMax ? text.slice(0, charsMax) : text;
    return this.buffer.write(storableText(cut), this.at + 4);
  }

  /** Whether there are no rows. */
  get isEmpty(): boolean {
    return this.at === COPY_HEADER.length;
  }

  /** Ends the rows, and returns them. */
  finish(): Buffer {
    this.reserve(2);
    this.view.setInt16(this.at, -1);
    this.at += 2;
    return this.buffer.subarray(0, this.at);
  }

  /** Lets others use the buffer. Call it last, when the rows are not needed any more. */
  recycleBuffer(): void {
    if (spares.length < SPARES_MAX && this.buffer.length <= SPARE_BYTES_MAX) spares.push(this.buffer);
  }

  private writeSafeInteger(value: number): void {
    const high = Math.floor(value / 0x1_0000_0000);
    this.view.setInt32(this.at, high);
    this.view.setUint32(this.at + 4, value - high * 0x1_0000_0000);
    this.at += 8;
  }

  private field(length: number): void {
    this.reserve(4 + length);
    this.length(length);
  }

  private length(bytes: number): void {
    this.view.setInt32(this.at, bytes);
    this.at += 4;
  }

  private reserve(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.at + bytes));
    this.buffer.copy(larger, 0, 0, this.at);
    this.buffer = larger;
    this.view = viewOf(larger);
  }
}

/** Rows, and the `COPY … FROM STDIN (FORMAT binary)` that inserts them. */
export type RowsOfTable = { readonly rows: CopyRows; readonly statement: string };

/** Inserts rows into several tables, in this order. Sends nothing for a table without rows. */
export async function sendRows(connection: Connection, tables: readonly RowsOfTable[]): Promise<void> {
  const filled = tables.filter(({ rows }) => !rows.isEmpty);
  await copyIn(
    connection,
    filled.map(({ rows, statement }) => ({ statement, data: rows.finish() })),
  );
  for (const { rows } of tables) rows.recycleBuffer();
}

/** A text with U+FFFD in place of the characters that PostgreSQL cannot store: U+0000 and halves of surrogate pairs. */
export function storableText(text: string): string {
  return (text.includes('\0') ? text.replaceAll('\0', '\uFFFD') : text).toWellFormed();
}

function viewOf({ buffer, byteOffset, byteLength }: Buffer): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}
