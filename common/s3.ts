import type { Readable } from 'node:stream';
import { DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { TollwayError } from './errors.ts';

/** Objects of S3. Region and credentials are found as the AWS SDK finds them. */
export type ObjectStore = {
  /** Opens an object; with an `eTag` only if it is still the same. Throws `object_gone` where it is not, or no more. */
  readonly read: (place: ObjectPlace, eTag?: string) => Promise<{ stream: Readable; eTag: string }>;
  /** The keys that begin with a prefix, in their order, a page at a time. */
  readonly list: (bucket: string, prefix: string) => AsyncGenerator<string[]>;
  readonly remove: (place: ObjectPlace) => Promise<void>;
  readonly close: () => void;
};
/** An object, or one version of it: without `versionId`, the latest. */
export type ObjectPlace = { readonly bucket: string; readonly key: string; readonly versionId?: string };

/** As people write it: `s3://bucket/key`, with the version if one is named. */
export function objectName({ bucket, key, versionId }: ObjectPlace): string {
  return `s3://${bucket}/${key}${versionId === undefined ? '' : ` (version ${versionId})`}`;
}

/** Errors of S3 that say that there is no such object, or no such version of it. */
const GONE = ['NoSuchKey', 'NoSuchVersion'];

export function openObjectStore(): ObjectStore {
  // The bucket in the path and not in the host's name: AWS takes both, emulators only this.
  const client = new S3Client({ forcePathStyle: true });
  return {
    read: async (place, eTag) => {
      const { bucket: Bucket, key: Key, versionId: VersionId } = place;
      try {
        const { Body, ETag = '' } = await client.send(
          new GetObjectCommand({ Bucket, Key, VersionId, IfMatch: eTag }),
        );
        // In Node a body is a stream of Node.
        return { stream: Body as Readable, eTag: ETag };
      } catch (error) {
        const { name } = error as { name?: unknown };
        const changed = name === 'PreconditionFailed';
        if (!GONE.includes(String(name)) && !changed) throw error;
        const got = changed ? 'it has changed meanwhile' : 'it is gone';
        throw new TollwayError('object_gone', `expected the object ${objectName(place)}, ${got}`, {
          cause: error,
        });
      }
    },
    list: async function* (Bucket, Prefix) {
      for (let ContinuationToken: string | undefined; ; ) {
        const page = await client.send(new ListObjectsV2Command({ Bucket, Prefix, ContinuationToken }));
        yield (page.Contents ?? []).flatMap(({ Key }) => Key ?? []);
        ContinuationToken = page.NextContinuationToken;
        if (ContinuationToken === undefined) return;
      }
    },
    remove: async ({ bucket: Bucket, key: Key }) =>
      void (await client.send(new DeleteObjectCommand({ Bucket, Key }))),
    close: () => client.destroy(),
  };
}
