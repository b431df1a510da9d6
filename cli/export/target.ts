import type { Pool } from '../../common/postgres/postgres.ts';

/** A file that is being written. It has its name only after `commit`. */
export type TargetFile = {
  /** Resolves when the next bytes can be written. */
  readonly write: (bytes: Uint8Array) => Promise<void>;
  /** Stores the file under its name, in place of an earlier one. When it resolves, the file survives a loss of power. */
  readonly commit: () => Promise<void>;
  /** Deletes what was written, as far as possible. */
  readonly discard: () => Promise<void>;
};

/** Where the files of an export are written: a folder or a prefix of a bucket. All functions throw `target_failed`. */
export type ExportTarget = {
  /** The names of the finished files that end with `suffix`, in ascending order. */
  readonly list: (suffix: string) => Promise<string[]>;
  readonly read: (name: string) => Promise<string>;
  readonly create: (name: string) => Promise<TargetFile>;
  /** Throws `already_running` unless this export still has the target for itself. */
  readonly assertLocked: () => Promise<void>;
  readonly close: () => Promise<void>;
};

/**
 * Opens `s3://bucket[/prefix]` or a folder, which is created if it does not exist, and locks it. Throws `already_running` if another export
 * has locked it, `bad_target` or `target_failed`.
 */
export async function openTarget(to: string, pool: Pool): Promise<ExportTarget> {
  if (to.startsWith('s3:')) {
    // Only this target loads AWS's client: others start faster without it.
    const { openBucketTarget } = await import('./bucket-target.ts');
    return openBucketTarget(to, pool);
  }
  const { openFolderTarget } = await import('./folder-target.ts');
  return openFolderTarget(to);
}
