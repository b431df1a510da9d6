import { createReadStream } from 'node:fs';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { errorCode, TollwayError } from './errors.ts';

const NEWLINE = 10;
const CARRIAGE_RETURN = 13;
/** The byte order mark of UTF-8, which Excel and PowerShell write at the beginning of a file. */
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
/** First bytes of every gzip file; RFC 1952 §2.3.1 */
const GZIP = Buffer.from([0x1f, 0x8b]);
/** Errors of zlib about invalid data; https://nodejs.org/api/zlib.html#zlib-constants */
const ZLIB_ERRORS = /^Z_(DATA|BUF)_ERROR$/;
/** First bytes of formats that are refused, and the command that converts each of them. */
const REFUSED: readonly { readonly begins: Buffer; readonly format: string; readonly remedy: string }[] = [
  // Before UTF-16, because its byte order mark begins with that of UTF-16.
  { begins: Buffer.from([0xff, 0xfe, 0, 0]), format: 'UTF-32', remedy: '`iconv -f UTF-32 -t UTF-8`' },
  { begins: Buffer.from([0xff, 0xfe]), format: 'UTF-16', remedy: '`iconv -f UTF-16 -t UTF-8`' },
  { begins: Buffer.from([0xfe, 0xff]), format: 'UTF-16', remedy: '`iconv -f UTF-16 -t UTF-8`' },
  // RFC 8878 §3.1.1
  { begins: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), format: 'Zstandard (.zst)', remedy: '`zstd -d`' },
  { begins: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), format: 'xz', remedy: '`xz -d`' },
  { begins: Buffer.from('BZh'), format: 'bzip2', remedy: '`bzip2 -d`' },
  { begins: Buffer.from([0x04, 0x22, 0x4d, 0x18]), format: 'lz4', remedy: '`lz4 -d`' },
  { begins: Buffer.from([0x50, 0x4b, 0x03, 0x04]), format: 'a zip archive', remedy: '`unzip`' },
];
/** Bytes needed to recognize a format: the longest of the sequences above. */
const HEAD_BYTES = 6;

/** Says by the first bytes of a text in which UTF-16 it is; `null`: in none that the reader takes. */
export type Utf16Of = (head: Uint8Array) => 'utf-16le' | 'utf-16be' | null;

/**
 * The bytes of a text file from outside, decompressed if it is gzip, without the byte order mark. All readers of files use this and
 * {@link linesOf}, so they accept and refuse the same files:
 *
 *     for await (const line of linesOf(textChunks(path, createReadStream(path)), CLICK_BYTES_MAX)) …
 *
 * `name` is the file's name in errors. `utf16Of` says by the first bytes in which UTF-16 the text is, if the reader takes that too; it is passed on
 * in UTF-8. A hash of these bytes does not depend on the byte order mark or on the compression. Throws
 * `bad_file` for UTF-16, UTF-32, Zstandard and the other formats above, and for a gzip file that is truncated or damaged. Throws what
 * reading `file` throws. Destroys `file` at the end, also if the caller stops early.
 */
export async function* textChunks(
  name: string,
  file: Readable,
  utf16Of: Utf16Of = () => null,
): AsyncGenerator<Buffer> {
  try {
    const { head, all } = await peek(file);
    if (!startsWith(head, GZIP)) {
      yield* plainText(name, head, all, utf16Of);
      return;
    }
    // An error of the file destroys the pipeline, which ends the loop below with the same error, so the callback is empty.
    const decompressed = await peek(pipeline(Readable.from(all), createGunzip(), () => {}));
    yield* plainText(name, decompressed.head, decompressed.all, utf16Of);
  } catch (error) {
    if (!ZLIB_ERRORS.test(errorCode(error) ?? '')) throw error;
    const message = `${name}: expected a complete gzip file, got one that is truncated or damaged; none of its lines were processed`;
    throw new TollwayError('bad_file', message, { cause: error });
  } finally {
    file.destroy();
  }
}

/** What is wrong with the path of a file, by the code of the error. */
const PROBLEMS: Readonly<Record<string, string>> = {
  ENOENT: 'the file does not exist',
  EISDIR: 'expected a file, got a folder',
  EACCES: 'expected a file that this user may read, got one without that permission',
};

/** As {@link textChunks}, of a file on this machine. Throws `bad_file` also if it does not exist or cannot be read. */
export async function* fileChunks(path: string, name: string, utf16Of?: Utf16Of): AsyncGenerator<Buffer> {
  try {
    yield* textChunks(name, createReadStream(path), utf16Of);
  } catch (cause) {
    const code = errorCode(cause);
    if (code === undefined || !/^E[A-Z]+$/.test(code)) throw cause;
    const problem = PROBLEMS[code] ?? `the file cannot be read (${code})`;
    throw new TollwayError('bad_file', `${name}: ${problem}`, { cause });
  }
}

/** Bytes without the byte order mark of UTF-8, if they begin with one. */
export function withoutBom(bytes: Buffer): Buffer {
  return startsWith(bytes, BOM) ? bytes.subarray(BOM.length) : bytes;
}

/**
 * Lines without their ends (LF or CRLF), and without a byte order mark, which concatenated files have in the middle. A line longer than
 * `bytesMax` is cut to `bytesMax + 1` bytes, so the caller sees that it is too long.
 */
export async function* linesOf(chunks: AsyncIterable<Buffer>, bytesMax: number): AsyncGenerator<Buffer> {
  const keptMax = BOM.length + bytesMax + 1 + 1;
  let parts: Buffer[] = [];
  let length = 0;
  const keep = (part: Buffer) => {
    // A copy: a slice would keep its chunk in memory until the line is settled.
    if (length < keptMax) parts.push(Buffer.from(part.subarray(0, keptMax - length)));
    length += part.length;
  };
  const take = () => {
    const line = withoutBom(Buffer.concat(parts));
    parts = [];
    length = 0;
    return line.subarray(0, line.at(-1) === CARRIAGE_RETURN ? -1 : undefined).subarray(0, bytesMax + 1);
  };
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      keep(chunk.subarray(start, end));
      yield take();
      start = end + 1;
    }
    if (start < chunk.length) keep(chunk.subarray(start));
  }
  if (length > 0) yield take();
}

async function* plainText(
  name: string,
  head: Buffer,
  all: AsyncIterable<Buffer>,
  utf16Of: Utf16Of,
): AsyncGenerator<Buffer> {
  const encoding = utf16Of(head);
  if (encoding !== null) {
    yield* utf16Text(name, all, encoding);
    return;
  }
  const refused = REFUSED.find(({ begins }) => startsWith(head, begins)) ?? unmarkedUtf16(head);
  if (refused !== undefined) {
    const message = `${name}: expected UTF-8 text, plain or gzip, got ${refused.format}. Convert it first: ${refused.remedy}`;
    throw new TollwayError('bad_file', message);
  }
  let isFirst = true;
  for await (const chunk of all) {
    yield isFirst ? withoutBom(chunk) : chunk;
    isFirst = false;
  }
}

/** UTF-16 as UTF-8, without the byte order mark. */
async function* utf16Text(
  name: string,
  all: AsyncIterable<Buffer>,
  encoding: 'utf-16le' | 'utf-16be',
): AsyncGenerator<Buffer> {
  const decoder = new TextDecoder(encoding, { fatal: true });
  try {
    for await (const chunk of all) yield Buffer.from(decoder.decode(chunk, { stream: true }));
    yield Buffer.from(decoder.decode());
  } catch (error) {
    if (errorCode(error) !== 'ERR_ENCODING_INVALID_ENCODED_DATA') throw error;
    const message = `${name}: expected UTF-16 text, as its first bytes say, got bytes that are none`;
    throw new TollwayError('bad_file', message, { cause: error });
  }
}

/** Recognizes UTF-16 without a byte order mark: JSON, CSV and logs begin with ASCII, so every other byte is zero. */
function unmarkedUtf16([first, second]: Buffer): { format: string; remedy: string } | undefined {
  if (first === undefined || second === undefined || (first === 0) === (second === 0)) return undefined;
  return { format: 'UTF-16', remedy: `\`iconv -f UTF-16${first === 0 ? 'BE' : 'LE'} -t UTF-8\`` };
}

/** The first bytes of a file, and an iterable of the whole file. */
async function peek(file: AsyncIterable<Buffer>): Promise<{ head: Buffer; all: AsyncGenerator<Buffer> }> {
  const chunks = file[Symbol.asyncIterator]();
  let first = Buffer.alloc(0);
  while (first.length < HEAD_BYTES) {
    const next = await chunks.next();
    if (next.done) break;
    first = Buffer.concat([first, next.value]);
  }
  const all = (async function* () {
    yield first;
    yield* { [Symbol.asyncIterator]: () => chunks };
  })();
  return { head: first.subarray(0, HEAD_BYTES), all };
}

function startsWith(bytes: Buffer, begins: Buffer): boolean {
  return bytes.subarray(0, begins.length).equals(begins);
}
