import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { errorCode, errorMessage, TollwayError } from '../common/errors.ts';

/** The bucket where Lambda puts the batches that it gave up on, or a copy of it. */
export type FailureStore = {
  /** The names of all objects, in their order. */
  readonly list: () => AsyncIterable<string>;
  /** The bytes of an object; `null` if it was removed since. Throws `bad_object` with its name. */
  readonly read: (name: string) => Promise<Buffer | null>;
  /** Throws `bad_object` with its name. */
  readonly remove: (name: string) => Promise<void>;
  readonly close: () => void;
};

/** Largest object, in bytes: Lambda's events have at most 6 MiB, and as text in JSON every quotation mark takes one byte more. */
const OBJECT_BYTES_MAX = 33_554_432;

/** Opens `s3://bucket[/prefix]`, a file or a folder. Throws `bad_place`. */
export async function openFailureStore(place: string): Promise<FailureStore> {
  const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)\/?(.*)$/s.exec(place) ?? [];
  return bucket === undefined ? openFolder(place) : openBucket(bucket, prefix);
}

async function openBucket(bucket: string, prefix: string): Promise<FailureStore> {
  // Only this command loads AWS's client: others start faster without it.
  const { objectName, openObjectStore } = await import('../common/s3.ts');
  const store = openObjectStore();
  const nameOf = (key: string) => objectName({ bucket, key });
  const placeOf = (name: string) => ({ bucket, key: name.slice(nameOf('').length) });
  return {
    list: async function* () {
      for await (const keys of store.list(bucket, prefix)) yield* keys.map(nameOf);
    },
    read: (name) =>
      onObject(name, 'read', 'object_gone', async () => bytesOf((await store.read(placeOf(name))).stream)),
    remove: async (name) => void (await onObject(name, 'remove', null, () => store.remove(placeOf(name)))),
    close: store.close,
  };
}

function openFolder(place: string): FailureStore {
  const found = statSync(place, { throwIfNoEntry: false });
  if (found === undefined && !place.startsWith('s3:'))
    throw new TollwayError(
      'bad_place',
      `Expected s3://bucket[/prefix], a file or a folder, got ${place}, which does not exist`,
    );
  if (!found?.isFile() && !found?.isDirectory())
    throw new TollwayError('bad_place', `Expected s3://bucket[/prefix], a file or a folder, got ${place}`);
  return {
    list: async function* () {
      if (found.isFile()) return yield place;
      const entries = readdirSync(place, { recursive: true, withFileTypes: true });
      const files = entries.filter((entry) => entry.isFile());
      yield* files.map(({ parentPath, name }) => join(parentPath, name)).sort();
    },
    read: (name) =>
      onObject(name, 'read', 'ENOENT', async () => {
        const { size = 0 } = statSync(name);
        if (size > OBJECT_BYTES_MAX) throw tooLarge();
        return readFileSync(name);
      }),
    remove: async (name) =>
      void (await onObject(name, 'remove', null, async () => rmSync(name, { force: true }))),
    close: () => {},
  };
}

async function bytesOf(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > OBJECT_BYTES_MAX) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function tooLarge(): Error {
  return new Error(`more than ${OBJECT_BYTES_MAX} bytes`);
}

/** Runs `work` on an object and names the object in its error; `null` if the object is gone. */
async function onObject<T>(
  name: string,
  verb: 'read' | 'remove',
  gone: string | null,
  work: () => Promise<T>,
): Promise<T | null> {
  try {
    return await work();
  } catch (cause) {
    if (gone !== null && errorCode(cause) === gone) return null;
    const message = `${name}: expected to ${verb} it, got "${errorMessage(cause)}"`;
    throw new TollwayError('bad_object', message, { cause });
  }
}
