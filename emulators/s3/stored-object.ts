import { createHash, randomUUID } from 'node:crypto';
import { crc64Nvme } from './crc64-nvme.ts';

/** The content of an object. A list is not joined, so that a large object does not need one large buffer. */
export type ObjectBody = Buffer | string | readonly Buffer[];

/** One version of an object. */
export type StoredObject = {
  readonly versionId: string;
  readonly pieces: readonly Buffer[];
  readonly bytes: number;
  readonly eTag: string;
  readonly checksum: string;
  readonly modifiedAt: Date;
};

/** Creates a new version. */
export function toStored(body: ObjectBody): StoredObject {
  const pieces = Buffer.isBuffer(body) || typeof body === 'string' ? [Buffer.from(body)] : body;
  const hash = createHash('md5');
  for (const piece of pieces) hash.update(piece);
  return {
    versionId: randomUUID(),
    pieces,
    bytes: pieces.reduce((sum, { length }) => sum + length, 0),
    eTag: `"${hash.digest('hex')}"`,
    checksum: crc64Nvme(pieces).toString('base64'),
    modifiedAt: new Date(),
  };
}
