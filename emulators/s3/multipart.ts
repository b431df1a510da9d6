import { createHash, randomUUID } from 'node:crypto';

/** Least bytes of every part but the last; https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const PART_BYTES_MIN = 5 * 1_048_576;

type UploadedPart = { readonly pieces: readonly Buffer[]; readonly bytes: number; readonly eTag: string };
type Upload = { readonly name: string; readonly parts: Map<number, UploadedPart> };

/** The result of completing an upload: the pieces of the object, or the error of S3. */
export type Completed =
  | { readonly pieces: readonly Buffer[] }
  | { readonly code: 'NoSuchUpload' | 'InvalidPart' | 'InvalidPartOrder' | 'EntityTooSmall' };

/**
 * The unfinished multipart uploads of a server. `name` identifies bucket and key.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
 */
export function createMultipartUploads() {
  const uploads = new Map<string, Upload>();
  const uploadOf = (name: string, id: string) => {
    const upload = uploads.get(id);
    return upload?.name === name ? upload : undefined;
  };
  return {
    count: () => uploads.size,
    begin(name: string): string {
      const id = randomUUID();
      uploads.set(id, { name, parts: new Map() });
      return id;
    },
    /** Stores a part in place of an earlier one. Returns its ETag, or `null` for an unknown upload. */
    addPart(name: string, id: string, number: number, pieces: readonly Buffer[]): string | null {
      const upload = uploadOf(name, id);
      if (!upload) return null;
      const hash = createHash('md5');
      for (const piece of pieces) hash.update(piece);
      const eTag = `"${hash.digest('hex')}"`;
      upload.parts.set(number, { pieces, bytes: pieces.reduce((sum, { length }) => sum + length, 0), eTag });
      return eTag;
    },
    abort: (name: string, id: string): boolean => uploadOf(name, id) !== undefined && uploads.delete(id),
    /** Joins the parts that the XML of the request names. The upload stays if there is an error. */
    complete(name: string, id: string, xml: string): Completed {
      const upload = uploadOf(name, id);
      if (!upload) return { code: 'NoSuchUpload' };
      const listed = namedParts(xml);
      if (listed.some(({ number }, index) => number <= (listed[index - 1]?.number ?? 0))) {
        return { code: 'InvalidPartOrder' };
      }
      const parts = listed.map(({ number, eTag }) => {
        const part = upload.parts.get(number);
        return part?.eTag === eTag ? part : undefined;
      });
      if (parts.length === 0 || parts.includes(undefined)) return { code: 'InvalidPart' };
      const found = parts.flatMap((part) => part ?? []);
      if (found.slice(0, -1).some(({ bytes }) => bytes < PART_BYTES_MIN)) return { code: 'EntityTooSmall' };
      uploads.delete(id);
      return { pieces: found.flatMap(({ pieces }) => pieces) };
    },
  };
}
export type MultipartUploads = ReturnType<typeof createMultipartUploads>;

function namedParts(xml: string): { number: number; eTag: string }[] {
  return [...xml.matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = '']) => ({
    number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
    eTag: (/<ETag>(.*?)</.exec(part)?.[1] ?? '').replaceAll('&quot;', '"'),
  }));
}
