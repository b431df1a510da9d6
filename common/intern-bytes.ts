type Interned = { readonly hash: number; readonly view: DataView; readonly text: string };

/** Number of texts that are remembered, a power of two. */
const SLOTS = 8_192;

/**
 * Makes texts of ASCII bytes, and returns the same string for equal bytes: comparing bytes takes less time than making a string, and equal
 * texts take the memory of one. A text is remembered until another one with the same slot replaces it.
 */
export class ByteInterner {
  private readonly slots: (Interned | undefined)[] = Array.from({ length: SLOTS }, () => undefined);

  /** The text from `start` to `end`. `view` has the same positions as `bytes`. `hash`: any hash of the bytes, 32 bits. */
  intern(bytes: Buffer, view: DataView, start: number, end: number, hash: number): string {
    const slot = (hash ^ (hash >>> 15)) & (SLOTS - 1);
    const known = this.slots[slot];
    if (known !== undefined && known.hash === hash && isEqual(known.view, view, start, end))
      return known.text;
    const text = bytes.toString('latin1', start, end);
    const copy = Uint8Array.prototype.slice.call(bytes, start, end);
    this.slots[slot] = { hash, view: new DataView(copy.buffer), text };
    return text;
  }
}

function isEqual(known: DataView, view: DataView, start: number, end: number): boolean {
  const length = end - start;
  if (known.byteLength !== length) return false;
  let at = 0;
  for (; at + 4 <= length; at += 4)
    if (known.getInt32(at, true) !== view.getInt32(start + at, true)) return false;
  for (; at < length; at += 1) if (known.getUint8(at) !== view.getUint8(start + at)) return false;
  return true;
}
