import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { errorCode, TollwayError } from './errors.ts';

const NEWLINE = 10;
const CARRIAGE_RETURN = 13;
/** The byte order mark of UTF-8, which Excel and PowerShell write at the beginning of a file. */
const BOM = Buffer.from([0xef, 0xbb, 0xbf]);
/** How every gzip file begins; RFC 1952 §2.3.1 */
const GZIP = Buffer.from([0x1f, 0x8b]);
/** Errors of zlib that lie in the data; https://nodejs.org/api/zlib.html#zlib-constants */
const ZLIB_ERRORS = /^Z_(DATA|BUF)_ERROR$/;
/** How files begin that are neither UTF-8 text nor gzip, and what to do about each. */
const REFUSED: readonly { readonly begins: Buffer; readonly is: string; readonly remedy: string }[] = [
  // Before UTF-16, whose mark is the beginning of this one.
  { begins: Buffer.from([0xff, 0xfe, 0, 0]), is: 'UTF-32', remedy: '`iconv -f UTF-32 -t UTF-8`' },
  { begins: Buffer.from([0xff, 0xfe]), is: 'UTF-16', remedy: '`iconv -f UTF-16 -t UTF-8`' },
  { begins: Buffer.from([0xfe, 0xff]), is: 'UTF-16', remedy: '`iconv -f UTF-16 -t UTF-8`' },
  // RFC 8878 §3.1.1
  { begins: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), is: 'Zstandard (.zst)', remedy: '`zstd -d`' },
  { begins: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), is: 'xz', remedy: '`xz -d`' },
  { begins: Buffer.from('BZh'), is: 'bzip2', remedy: '`bzip2 -d`' },
  { begins: Buffer.from([0x04, 0x22, 0x4d, 0x18]), is: 'lz4', remedy: '`lz4 -d`' },
  { begins: Buffer.from([0x50, 0x4b, 0x03, 0x04]), is: 'a zip archive', remedy: '`unzip`' },
];
/** Bytes that say what a file is: the longest of the beginnings above. */
const HEAD_BYTES = 6;

/**
 * The bytes of a text file from outside: unpacked if it is gzip, without its byte order mark. Every reader of files uses this and
 * {@link linesOf}, so that all of them take and refuse the same files:
 *
 *     for await (const line of linesOf(textChunks(path, createReadStream(path)), CLICK_BYTES_MAX)) …
 *
 * `name` says in errors which file it is. A hash of these bytes is the same for the file with and without the mark, packed or
 * not. Throws `bad_file` for UTF-16, UTF-32, Zstandard and other formats it knows by name, and for a gzip file that is cut off or
 * damaged; passes on what reading `file` throws. Destroys `file` at the end, an early one too.
 */
export async function* textChunks(name: string, file: Readable): AsyncGenerator<Buffer> {
  try {
    const { head, all } = await peek(file);
    if (!startsWith(head, GZIP)) {
      yield* plainText(name, head, all);
      return;
    }
    // A failure of the file destroys the pipeline, and so ends this loop with the same error; the callback needs not report it.
    const unpacked = await peek(pipeline(Readable.from(all), createGunzip(), () => {}));
    yield* plainText(name, unpacked.head, unpacked.all);
  } catch (error) {
    if (!ZLIB_ERRORS.test(errorCode(error) ?? '')) throw error;
    const message = `${name}: expected a whole gzip file, got one that is cut off or damaged; nothing of it was taken`;
    throw new TollwayError('bad_file', message, { cause: error });
  } finally {
    file.destroy();
  }
}

/** Bytes without the byte order mark of UTF-8, if they begin with one. */
export function withoutBom(bytes: Buffer): Buffer {
  return startsWith(bytes, BOM) ? bytes.subarray(BOM.length) : bytes;
}

/**
 * Lines without their ends (LF or CRLF), and without a byte order mark: files that were joined have one in the middle. Of a line that is
 * longer than `bytesMax`, only `bytesMax + 1` bytes are kept: enough to see that it is too long.
 */
export async function* linesOf(chunks: AsyncIterable<Buffer>, bytesMax: number): AsyncGenerator<Buffer> {
  const keptMax = BOM.length + bytesMax + 1 + 1;
  let parts: Buffer[] = [];
  let length = 0;
  const keep = (part: Buffer) => {
    // A copy: the chunk may be large, and the line is kept until it is settled.
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

async function* plainText(name: string, head: Buffer, all: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const refused = REFUSED.find(({ begins }) => startsWith(head, begins)) ?? withoutMark(head);
  if (refused !== undefined) {
    const message = `${name}: expected UTF-8 text, plain or gzip, got ${refused.is}; convert it first: ${refused.remedy}`;
    throw new TollwayError('bad_file', message);
  }
  let isFirst = true;
  for await (const chunk of all) {
    yield isFirst ? withoutBom(chunk) : chunk;
    isFirst = false;
  }
}

/** UTF-16 without a mark: JSON, CSV and logs begin with ASCII, of which it writes every other byte as zero. */
function withoutMark([first, second]: Buffer): { is: string; remedy: string } | undefined {
  if (first === undefined || second === undefined || (first === 0) === (second === 0)) return undefined;
  return { is: 'UTF-16', remedy: `\`iconv -f UTF-16${first === 0 ? 'BE' : 'LE'} -t UTF-8\`` };
}

/** The first bytes of a file, and all of it with these in the first chunk. */
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
