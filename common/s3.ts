import type { Readable } from 'node:stream';
import { DeleteObjectCommand, GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { TollwayError } from './errors.ts';

/** A client for objects in S3. The AWS SDK finds region and credentials in its usual way. */
export type ObjectStore = {
  /** Opens an object; with an `eTag`, only if it has not changed. Throws `object_gone` if it has changed or does not exist. */
  readonly read: (location: ObjectLocation, eTag?: string) => Promise<{ stream: Readable; eTag: string }>;
  /** The keys that begin with a prefix, in ascending order, one page at a time. */
  readonly list: (bucket: string, prefix: string) => AsyncGenerator<string[]>;
  readonly remove: (location: ObjectLocation) => Promise<void>;
  readonly close: () => void;
};
/** An object, or one version of it: without `versionId`, the latest. */
export type ObjectLocation = { readonly bucket: string; readonly key: string; readonly versionId?: string };

/** The S3 URI of an object, `s3://bucket/key`, with its version if there is one. */
export function objectName({ bucket, key, versionId }: ObjectLocation): string {
  return `s3://${bucket}/${key}${versionId === undefined ? '' : ` (version ${versionId})`}`;
}

/** Errors of S3 for an object or a version that does not exist. */
const MISSING = ['NoSuchKey', 'NoSuchVersion'];

/** Creates the SDK's client. It takes its region and credentials from the environment. */
export function createS3Client(): S3Client {
  // The bucket in the path, not in the host name: AWS accepts both, emulators only the path.
  return new S3Client({ forcePathStyle: true });
}

/** Creates a client for S3. Close it after use. */
export function openObjectStore(): ObjectStore {
  const client = createS3Client();
  return {
    read: async (location, eTag) => {
      const { bucket: Bucket, key: Key, versionId: VersionId } = location;
      try {
        const { Body, ETag = '' } = await client.send(
          new GetObjectCommand({ Bucket, Key, VersionId, IfMatch: eTag }),
        );
        // In Node, the body is a Node stream.
        return { stream: Body as Readable, eTag: ETag };
      } catch (error) {
        const { name } = error as { name?: unknown };
        const isChanged = name === 'PreconditionFailed';
        if (!MISSING.includes(String(name)) && !isChanged) throw error;
        const got = isChanged ? 'a changed one' : 'none';
        throw new TollwayError('object_gone', `expected the object ${objectName(location)}, got ${got}`, {
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
