import { ByteInterner } from './intern-bytes.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const DASH = 0x2d;
const ZERO = 0x30;
const SPACE = 0x20;
const DELETE = 0x7f;
/** Digits of the longest safe integer. */
const DIGITS_MAX = 16;
/** FNV-1a, of words instead of bytes: https://datatracker.ietf.org/doc/html/rfc9923 */
const HASH_SEED = 0x811c9dc5;
const HASH_PRIME = 0x01000193;
/** Bytes in a word. Reading a word takes hardly longer than reading a byte. */
const WORD = 4;

/** A text of ASCII that is compared by words; the last word overlaps the one before. */
export type Literal = { readonly length: number; readonly words: Int32Array; readonly last: number };

/** `text`: at least four characters of ASCII. */
export function literal(text: string): Literal {
  const bytes = Buffer.from(text);
  const words = Int32Array.from({ length: bytes.length >> 2 }, (_, index) => bytes.readInt32LE(index * WORD));
  return { length: bytes.length, words, last: bytes.readInt32LE(bytes.length - WORD) };
}

const NULL = literal('null');

/** Values of hexadecimal digits in lower case; 255 for other bytes. */
const NIBBLES = Uint8Array.from({ length: 256 }, (_, code) => {
  const value = '0123456789abcdef'.indexOf(String.fromCharCode(code));
  return value < 0 ? 255 : value;
});

/**
 * Reads JSON of one known form from bytes. After bytes of another form `fits` is false; what is read then has no meaning, and reading on does
 * no harm. Texts fit if they are ASCII without escapes and control characters.
 */
export class JsonReader {
  /** Whether all bytes so far had the expected form. */
  fits = true;
  private bytes = Buffer.alloc(0);
  /** Has the same positions as `bytes`: both span the memory that the bytes to read are a part of. */
  private view: DataView = new DataView(this.bytes.buffer);
  private at = 0;
  private end = 0;
  private readonly interner = new ByteInterner();

  /** Begins to read `bytes` from `start` to `end`. */
  begin(bytes: Buffer, start: number, end: number): void {
    const { buffer, byteOffset } = bytes;
    // Many records share one memory: that of an answer of the broker.
    if (this.view.buffer !== buffer) {
      this.view = new DataView(buffer);
      this.bytes = Buffer.from(buffer as ArrayBuffer);
    }
    this.at = byteOffset + start;
    this.end = byteOffset + end;
    this.fits = true;
  }

  /** Whether everything is read. */
  get isAtEnd(): boolean {
    return this.at === this.end;
  }

  skip(expected: Literal): void {
    if (!this.skipIf(expected)) this.fits = false;
  }

  /** Skips a literal if it is next. */
  skipIf({ length, words, last }: Literal): boolean {
    const { view, at } = this;
    if (at + length > this.end) return false;
    for (let index = 0; index < words.length; index += 1) {
      if (view.getInt32(at + index * WORD, true) !== words[index]) return false;
    }
    if (view.getInt32(at + length - WORD, true) !== last) return false;
    this.at = at + length;
    return true;
  }

  /** Skips a byte if it is next. */
  skipByteIf(byte: number): boolean {
    if (this.at >= this.end || this.bytes[this.at] !== byte) return false;
    this.at += 1;
    return true;
  }

  /** A whole number of 1…`max`. */
  number(max: number): number {
    const first = this.at;
    let number = 0;
    for (; this.at < this.end; this.at += 1) {
      const digit = (this.bytes[this.at] as number) - ZERO;
      if (digit < 0 || digit > 9) break;
      number = number * 10 + digit;
    }
    const digits = this.at - first;
    if (digits === 0 || digits > DIGITS_MAX || this.bytes[first] === ZERO || number > max) this.fits = false;
    return number;
  }

  /** The four words of a canonical UUID in lower case, without quotes. */
  uuid(words: Int32Array): void {
    const { bytes, at } = this;
    if (at + 36 > this.end) {
      this.fits = false;
      return;
    }
    const hasDashes =
      bytes[at + 8] === DASH && bytes[at + 13] === DASH && bytes[at + 18] === DASH && bytes[at + 23] === DASH;
    if (!hasDashes) this.fits = false;
    words[0] = (this.hex4(at) << 16) | this.hex4(at + 4);
    words[1] = (this.hex4(at + 9) << 16) | this.hex4(at + 14);
    words[2] = (this.hex4(at + 19) << 16) | this.hex4(at + 24);
    words[3] = (this.hex4(at + 28) << 16) | this.hex4(at + 32);
    this.at = at + 36;
  }

  private hex4(at: number): number {
    const { bytes } = this;
    const a = NIBBLES[bytes[at] as number] as number;
    const b = NIBBLES[bytes[at + 1] as number] as number;
    const c = NIBBLES[bytes[at + 2] as number] as number;
    const d = NIBBLES[bytes[at + 3] as number] as number;
    if ((a | b | c | d) > 15) this.fits = false;
    return (a << 12) | (b << 8) | (c << 4) | d;
  }

  /** A text or null. */
  text(): string | null {
    if (!this.skipByteIf(QUOTE)) return this.null();
    const start = this.at;
    this.skipText();
    return this.fits ? this.bytes.toString('latin1', start, this.at - 1) : null;
  }

  /** A text or null of a field in which few texts are frequent: equal ones share a string. */
  frequentText(): string | null {
    if (!this.skipByteIf(QUOTE)) return this.null();
    const start = this.at;
    const hash = this.skipText();
    return this.fits ? this.interner.intern(this.bytes, this.view, start, this.at - 1, hash) : null;
  }

  private null(): null {
    this.skip(NULL);
    return null;
  }

  /** Skips the rest of a text and its quote. Returns a hash of the text. */
  private skipText(): number {
    const { view, end } = this;
    let hash = HASH_SEED;
    let { at } = this;
    for (; at + WORD <= end; at += WORD) {
      const word = view.getInt32(at, true);
      if (isSpecial(word)) break;
      hash = Math.imul(hash ^ word, HASH_PRIME);
    }
    for (; at < end; at += 1) {
      const byte = view.getUint8(at);
      if (byte === QUOTE) {
        this.at = at + 1;
        return hash;
      }
      if (byte === BACKSLASH || byte < SPACE || byte > DELETE) break;
      hash = Math.imul(hash ^ byte, HASH_PRIME);
    }
    this.fits = false;
    return hash;
  }
}

/**
 * Whether one of the four bytes is a quote, a backslash, a control character or no ASCII: `(x - 0x01…) & ~x & 0x80…` is not 0 if a byte of x is 0.
 * https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord
 */
function isSpecial(word: number): boolean {
  const quotes = word ^ 0x22222222;
  const backslashes = word ^ 0x5c5c5c5c;
  const found =
    ((quotes - 0x01010101) & ~quotes) |
    ((backslashes - 0x01010101) & ~backslashes) |
    ((word - 0x20202020) & ~word) |
    word;
  return (found & 0x80808080) !== 0;
}
