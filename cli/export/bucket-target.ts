import { text } from 'node:stream/consumers';
import { TollwayError } from '../../common/errors.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import { openObjectStore } from '../../common/s3.ts';
import { openUploader } from '../../common/s3-upload.ts';
import type { ExportTarget } from './target.ts';
import { onTarget, targetInUse } from './target-errors.ts';

/** Opens a prefix of a bucket; see `openTarget`. */
export async function openBucketTarget(to: string, pool: Pool): Promise<ExportTarget> {
  const { bucket, prefix } = parseBucketTarget(to);
  const nameOf = (name: string) => `s3://${bucket}/${prefix}${name}`;
  const lock = await lockTarget(pool, nameOf(''));
  const store = openObjectStore();
  const uploader = openUploader();
  return {
    list: (suffix) =>
      onTarget('list', nameOf(''), async () => {
        const names: string[] = [];
        for await (const keys of store.list(bucket, prefix)) {
          names.push(...keys.map((key) => key.slice(prefix.length)));
        }
        return names.filter((name) => name.endsWith(suffix) && !name.includes('/'));
      }),
    read: (name) =>
      onTarget('read', nameOf(name), async () =>
        text((await store.read({ bucket, key: prefix + name })).stream),
      ),
    create: async (name) => {
      const upload = uploader.start({ bucket, key: prefix + name });
      return {
        write: (bytes) => onTarget('write', nameOf(name), () => upload.write(bytes)),
        commit: () => onTarget('write', nameOf(name), upload.finish),
        discard: upload.abort,
      };
    },
    assertLocked: lock.assertHeld,
    close: async () => {
      store.close();
      uploader.close();
      lock.release();
    },
  };
}

/** The prefix ends with `/` unless it is empty. Throws `bad_target`. */
function parseBucketTarget(to: string): { bucket: string; prefix: string } {
  const [, bucket, path = ''] = /^s3:\/\/([^/]+)(?:\/+(.*))?$/s.exec(to) ?? [];
  if (bucket === undefined) {
    throw new TollwayError('bad_target', `Expected s3://bucket[/prefix] or a folder, got ${to}`);
  }
  const prefix = path.replace(/\/+$/, '');
  return { bucket, prefix: prefix === '' ? '' : `${prefix}/` };
}

/**
 * Takes a lock in the database: S3 has none that ends with its process. It excludes exports of the same database, and PostgreSQL releases
 * it when the connection ends. Throws `already_running`.
 */
async function lockTarget(pool: Pool, name: string) {
  const connection = await pool.connect();
  // Without a listener, a connection that breaks between two queries ends the process.
  connection.on('error', () => {});
  const release = () => connection.release(true);
  try {
    const { rows } = await connection.query<{ locked: boolean }>(
      'select pg_try_advisory_lock(hashtextextended($1, 0)) as locked',
      [`tollway export ${name}`],
    );
    if (!rows[0]?.locked) throw targetInUse(name);
  } catch (error) {
    release();
    throw error;
  }
  return {
    release,
    assertHeld: () => onTarget('write', name, async () => void (await connection.query('select')).rowCount),
  };
}
