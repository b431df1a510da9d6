import {
  createListReader,
  LIST_HEAD_BYTES,
  LIST_LINE_CHARS_MAX,
  utf16Of,
} from '../../../../contract/click-list.ts';
import { ApiError, fieldError } from '../../api.ts';
import { formatCount } from '../../format.ts';
import { texts } from '../../texts.ts';

const words = texts.credits.list;

/** Most clicks of a list: the page keeps their ids in memory. */
export const CLICKS_MAX = 1_000_000;
/** Most characters of a wrong line that its error shows. */
const SHOWN_CHARS_MAX = 100;

/** The clicks that a list wants credited. */
export type ClickList = {
  /** Each once, in the order of the list. */
  readonly clickIds: readonly string[];
  /** Rows of an export that are no charges. */
  readonly passedOver: number;
  /** Lines whose click another line has too. */
  readonly repeated: number;
};

/**
 * Reads a list of clicks to its end: a text in UTF-8, or in UTF-16 with a byte order mark, plain or gzip. `field` is the field of the form that
 * the list comes from. Throws an `ApiError` about this field, for a line that is wrong with its number.
 */
export async function readClickList(source: Blob, field: string): Promise<ClickList> {
  const read = createListReader();
  const ids = new Set<string>();
  let [number, charges, passedOver] = [0, 0, 0];
  for await (const lines of linesOf(source, field)) {
    for (const text of lines) {
      number += 1;
      const line = read(text);
      if (line.is === 'wrong') throw fieldError(field, words.wrong(number, shown(text)));
      if (line.is === 'passed_over') passedOver += 1;
      if (line.is !== 'charge') continue;
      charges += 1;
      ids.add(line.clickId);
    }
    if (ids.size > CLICKS_MAX) throw fieldError(field, words.tooMany(formatCount(CLICKS_MAX)));
  }
  if (ids.size === 0)
    throw fieldError(field, passedOver === 0 ? words.empty : words.noCharges(formatCount(passedOver)));
  return { clickIds: [...ids], passedOver, repeated: charges - ids.size };
}

function shown(line: string): string {
  const text = line.trim();
  return text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}…` : text;
}

/** The lines of a text, some at a time. A line that is too long is cut, but still too long, and is the last one. */
async function* linesOf(source: Blob, field: string): AsyncGenerator<readonly string[]> {
  // Not `for await`: Safari 16 cannot iterate streams.
  const reader = (await textOf(source, field)).getReader();
  try {
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw unreadable(error, field);
      });
      const lines = (rest + (value ?? '')).split('\n');
      if (done) return yield lines;
      rest = lines.pop() ?? '';
      yield lines;
      if (rest.length > LIST_LINE_CHARS_MAX) return yield [rest];
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
}

const beginsWith = (head: Uint8Array, ...bytes: readonly number[]) =>
  bytes.every((byte, index) => head[index] === byte);

async function textOf(source: Blob, field: string): Promise<ReadableStream<string>> {
  const head = new Uint8Array(
    await source
      .slice(0, LIST_HEAD_BYTES)
      .arrayBuffer()
      .catch((error: unknown) => {
        throw unreadable(error, field);
      }),
  );
  // A workbook of Excel is a zip archive.
  if (beginsWith(head, 0x50, 0x4b, 3, 4)) throw fieldError(field, words.workbook);
  if (!beginsWith(head, 0x1f, 0x8b)) return source.stream().pipeThrough(decoderOf(head));
  if (!('DecompressionStream' in globalThis)) throw fieldError(field, words.noGzip);
  const [looked, read] = unzipped(source, field).tee();
  const decoder = decoderOf(await headOf(looked, field));
  return read.pipeThrough(decoder);
}

const decoderOf = (head: Uint8Array) => new TextDecoderStream(utf16Of(head) ?? 'utf-8', { fatal: true });

/** The first bytes of a stream, which is then left. */
async function headOf(stream: ReadableStream<Uint8Array>, field: string): Promise<Uint8Array> {
  const reader = stream.getReader();
  const head: number[] = [];
  try {
    while (head.length < LIST_HEAD_BYTES) {
      const { done, value } = await reader.read();
      if (done) break;
      head.push(...value.subarray(0, LIST_HEAD_BYTES - head.length));
    }
    return Uint8Array.from(head);
  } catch (error) {
    throw unreadable(error, field);
  } finally {
    void reader.cancel().catch(() => {});
  }
}

/** The bytes of a gzip file. Its errors say that the file is damaged, unlike those of the decoder of texts. */
function unzipped(source: Blob, field: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = source.stream().pipeThrough(new DecompressionStream('gzip')).getReader();
  return new ReadableStream({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        controller.error(error instanceof TypeError ? fieldError(field, words.damaged) : error);
      }
    },
    cancel: (reason) => reader.cancel(reason),
  });
}

/** What a failure to read a text means. Decoders throw a `TypeError` for bytes that are wrong. */
function unreadable(error: unknown, field: string): ApiError {
  if (error instanceof ApiError) return error;
  return fieldError(field, error instanceof TypeError ? words.notText : words.unreadable);
}
