/** The bit-reversed polynomial 0x9a6c9329ac4bc9b5 in two halves, because numbers are faster than bigints. */
const HIGH = 0x9a6c9329;
const LOW = 0xac4bc9b5;

const highOf = new Uint32Array(256);
const lowOf = new Uint32Array(256);
for (let byte = 0; byte < 256; byte += 1) {
  let high = 0;
  let low = byte;
  for (let bit = 0; bit < 8; bit += 1) {
    const out = low & 1;
    low = (low >>> 1) | ((high & 1) << 31);
    high >>>= 1;
    if (out === 1) {
      low ^= LOW;
      high ^= HIGH;
    }
  }
  highOf[byte] = high;
  lowOf[byte] = low;
}

/** CRC-64/NVME of consecutive pieces, big-endian: the checksum that S3 stores with every object by default. */
export function crc64Nvme(pieces: readonly Buffer[]): Buffer {
  let high = 0xffffffff;
  let low = 0xffffffff;
  for (const piece of pieces) {
    for (const byte of piece) {
      const index = (low ^ byte) & 0xff;
      low = ((low >>> 8) | ((high & 0xff) << 24)) ^ (lowOf[index] ?? 0);
      high = (high >>> 8) ^ (highOf[index] ?? 0);
    }
  }
  const sum = Buffer.alloc(8);
  sum.writeUInt32BE(~high >>> 0, 0);
  sum.writeUInt32BE(~low >>> 0, 4);
  return sum;
}
