import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import { Upload } from '@aws-sdk/lib-storage';
import { createS3Client, type ObjectLocation } from './s3.ts';

/** An object that is being written. It exists only after `finish`, with all its bytes. */
export type ObjectUpload = {
  /** Resolves when the next bytes can be written. Throws the error of S3. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  /** Stores the object in place of an earlier one. Throws the error of S3. */
  readonly finish: () => Promise<void>;
  /** Deletes the parts that were sent, as far as possible. */
  readonly abort: () => Promise<void>;
};

/**
 * Bytes of a part. S3 takes up to 10 000 parts for each object, and none but the last may be smaller than 5 MiB.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
 */
const PART_BYTES = 16 * 1_048_576;
/** Parts that are sent at once, and so held in memory. */
const PARTS_AT_ONCE = 2;

/** Creates a client that writes objects of any size without holding them in memory. Close it after use. */
export function openUploader() {
  const client = createS3Client();
  return {
    start: ({ bucket: Bucket, key: Key }: ObjectLocation): ObjectUpload => {
      const body = new PassThrough();
      const upload = new Upload({
        client,
        params: { Bucket, Key, Body: body },
        partSize: PART_BYTES,
        queueSize: PARTS_AT_ONCE,
      });
      const done = upload.done();
      // `write` and `finish` report the error.
      done.catch(() => {});
      return {
        write: async (bytes) => {
          // After an error of S3 the body is not read any more, so it never drains.
          if (!body.write(bytes)) await Promise.race([once(body, 'drain'), done]);
        },
        finish: async () => {
          body.end();
          await done;
        },
        abort: async () => {
          await upload.abort().catch(() => {});
          await done.catch(() => {});
          body.destroy();
        },
      };
    },
    close: () => client.destroy(),
  };
}
