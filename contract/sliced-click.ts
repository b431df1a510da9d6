import { JsonReader, type Literal, literal } from '../common/json-reader.ts';
import {
  isPublishTime,
  parseClickKey,
  type ReadClick,
  type ReadRecord,
  type SpoolPosition,
} from './click-event.ts';
import { decodeClick } from './decode-click.ts';
import type { DecodedClick } from './decoded-click.ts';
import { readRecord } from './read-record.ts';

/** Where a record lies in the memory of its record batch, and its place in the broker. A key or value without bytes begins at -1. */
export type RecordSlice = {
  bytes: Buffer;
  keyStart: number;
  keyEnd: number;
  valueStart: number;
  valueEnd: number;
  /** The partition, such as `clicks/3`. */
  place: string;
  offset: number;
  /** When it was published, in Unix ms. A producer can write any number. */
  publishedAt: number;
};

/**
 * A click that lies in the memory of its record batch. Its key, its value and its position are made when they are asked for, which is only for
 * clicks that are rejected or logged: a batch then has two objects for each click instead of eight.
 */
class SlicedClick implements ReadClick {
  readonly is = 'click';
  readonly click: DecodedClick;
  readonly from: SpoolPosition | null;
  readonly publishedAt?: number;
  private readonly bytes: Buffer;
  private readonly keyStart: number;
  private readonly keyEnd: number;
  private readonly valueStart: number;
  private readonly valueEnd: number;
  private readonly place: string;
  private readonly offset: number;

  constructor(slice: RecordSlice, click: DecodedClick, from: SpoolPosition | null) {
    this.click = click;
    this.from = from;
    this.bytes = slice.bytes;
    this.keyStart = slice.keyStart;
    this.keyEnd = slice.keyEnd;
    this.valueStart = slice.valueStart;
    this.valueEnd = slice.valueEnd;
    this.place = slice.place;
    this.offset = slice.offset;
    if (isPublishTime(slice.publishedAt)) this.publishedAt = slice.publishedAt;
  }

  get key(): string | null {
    return this.keyStart < 0 ? null : this.bytes.toString('utf8', this.keyStart, this.keyEnd);
  }

  get value(): Buffer {
    return this.bytes.subarray(this.valueStart, this.valueEnd);
  }

  get valueBytes(): number {
    return this.valueEnd - this.valueStart;
  }

  get position(): string {
    return `${this.place}@${this.offset}`;
  }
}

const DOT = 0x2e;
const SEQUENCE_MAX = 999_999_999_999_999;
const reader = new JsonReader();
/** The spool of the last key. Consecutive records are mostly of one spool. */
let latest: { readonly spoolId: string; readonly literal: Literal } | null = null;

/** Reads a record like `readRecord`. `slice` can be used again afterwards. */
export function readSlice(slice: RecordSlice): ReadRecord {
  const { bytes, keyStart, keyEnd, valueStart, valueEnd } = slice;
  const click = valueStart < 0 ? null : decodeClick(bytes, valueStart, valueEnd);
  if (click !== null) return new SlicedClick(slice, click, readKey(bytes, keyStart, keyEnd));
  const key = keyStart < 0 ? null : bytes.toString('utf8', keyStart, keyEnd);
  const value = valueStart < 0 ? null : bytes.subarray(valueStart, valueEnd);
  return readRecord({ key, value }, `${slice.place}@${slice.offset}`, slice.publishedAt);
}

function readKey(bytes: Buffer, start: number, end: number): SpoolPosition | null {
  if (start < 0) return null;
  if (latest !== null) {
    reader.begin(bytes, start, end);
    if (reader.skipIf(latest.literal) && reader.skipByteIf(DOT)) {
      const sequence = reader.number(SEQUENCE_MAX);
      if (reader.fits && reader.isAtEnd) return { spoolId: latest.spoolId, sequence };
    }
  }
  const from = parseClickKey(bytes.toString('utf8', start, end));
  if (from !== null) latest = { spoolId: from.spoolId, literal: literal(from.spoolId) };
  return from;
}
