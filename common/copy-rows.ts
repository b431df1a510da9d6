import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { from as copyFrom } from 'pg-copy-streams';
import type { Connection } from './postgres.ts';
import { writeUuid } from './uuid.ts';

/** `PGCOPY` signature, flags and header extension; https://www.postgresql.org/docs/18/sql-copy.html */
const COPY_HEADER = Buffer.from('PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0', 'latin1');
/** Microseconds between the Unix epoch and PostgreSQL's, 2000-01-01. */
const POSTGRES_EPOCH_MICROS = 946_684_800_000_000;

/** Buffers that were sent, for the next rows: a batch's is large, and growing it anew costs more than filling it. */
const spares: Buffer[] = [];
const SPARES_MAX = 4;
const SPARE_BYTES_MAX = 4_194_304;

function takeSpare(): Buffer {
  return spares.pop() ?? Buffer.allocUnsafe(65_536);
}

/**
 * Rows in PostgreSQL's binary `COPY` format, written into one growing buffer.
 * Begin each row with `row`, then write its columns in the order of the statement.
 */
export class CopyRows {
  private buffer = takeSpare();
  private at = COPY_HEADER.copy(this.buffer, 0);
  private readonly columns: number;
  private sharedId: string | null = null;
  private readonly sharedBytes = Buffer.alloc(16);

  constructor(columns: number) {
    this.columns = columns;
  }

  row(): void {
    this.reserve(2);
    this.at = this.buffer.writeInt16BE(this.columns, this.at);
  }

  null(): void {
    this.reserve(4);
    this.at = this.buffer.writeInt32BE(-1, this.at);
  }

  /** A UUID that many rows share, or null: taken apart once. */
  sharedUuid(id: string | null): void {
    if (id !== this.sharedId && id !== null) {
      writeUuid(this.sharedBytes, id, 0);
      this.sharedId = id;
    }
    if (id === null) this.null();
    else {
      this.field(16);
      this.at += this.sharedBytes.copy(this.buffer, this.at);
    }
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

  int4(value: number): void {
    this.field(4);
    this.at = this.buffer.writeInt32BE(value, this.at);
  }

  /** A safe integer, a bigint, or null. */
  int8(value: number | bigint | null): void {
    if (value === null) this.null();
    else if (typeof value === 'bigint') {
      this.field(8);
      this.at = this.buffer.writeBigInt64BE(value, this.at);
    } else {
      this.field(8);
      this.writeSafeInteger(value);
    }
  }

  /** Unix ms as `timestamptz`. */
  timestamp(timeMs: number): void {
    this.field(8);
    this.writeSafeInteger(timeMs * 1_000 - POSTGRES_EPOCH_MICROS);
  }

  /** Text, or a label of an enum, or null. */
  text(value: string | null): void {
    if (value === null) this.null();
    else {
      this.reserve(4 + value.length * 3);
      const length = this.buffer.write(value, this.at + 4);
      this.buffer.writeInt32BE(length, this.at);
      this.at += 4 + length;
    }
  }

  /** Sends the rows with `statement`, a `COPY … FROM STDIN (FORMAT binary)`. */
  async send(connection: Connection, statement: string): Promise<void> {
    this.reserve(2);
    this.at = this.buffer.writeInt16BE(-1, this.at);
    const stream = connection.query(copyFrom(statement));
    await pipeline(Readable.from([this.buffer.subarray(0, this.at)]), stream);
    if (spares.length < SPARES_MAX && this.buffer.length <= SPARE_BYTES_MAX) spares.push(this.buffer);
  }

  private writeSafeInteger(value: number): void {
    const high = Math.floor(value / 0x1_0000_0000);
    this.buffer.writeInt32BE(high, this.at);
    this.at = this.buffer.writeUInt32BE(value - high * 0x1_0000_0000, this.at + 4);
  }

  private field(length: number): void {
    this.reserve(4 + length);
    this.at = this.buffer.writeInt32BE(length, this.at);
  }

  private reserve(bytes: number): void {
    if (this.at + bytes <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.at + bytes));
    this.buffer.copy(larger, 0, 0, this.at);
    this.buffer = larger;
  }
}
