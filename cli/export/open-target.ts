import type { Pool } from '../../common/postgres/postgres.ts';
import type { ExportTarget } from './target.ts';

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
