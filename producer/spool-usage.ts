import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../common/errors.ts';
import { isUuid } from '../common/uuid.ts';
import { listSegments } from './spool-format.ts';

/** Measures the spools in a folder again and again, those of other processes and of ended ones included. */
export class SpoolUsage {
  private readonly root: string;
  private readonly ownId: string;
  /** Sizes of segments that have ended, by path. They do not change any more. */
  private sizes = new Map<string, number>();
  private latest = new Map<string, number>();

  /** `root`: the folder of the spools; `ownId`: the spool that its own process counts itself, which is left out. */
  constructor(root: string, ownId: string) {
    this.root = root;
    this.ownId = ownId;
  }

  /**
   * Returns the bytes of the segments of each spool, by its folder. A spool that cannot be listed, or all of them, have the bytes of the
   * measurement before.
   */
  measure(): ReadonlyMap<string, number> {
    const sizes = new Map<string, number>();
    const usage = new Map<string, number>();
    try {
      for (const spoolId of readdirSync(this.root)) {
        if (!isUuid(spoolId) || spoolId === this.ownId) continue;
        const folder = join(this.root, spoolId);
        usage.set(folder, this.measureSpool(folder, sizes));
      }
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') return this.latest;
    }
    this.sizes = sizes;
    this.latest = usage;
    return usage;
  }

  private measureSpool(folder: string, sizes: Map<string, number>): number {
    let bytes = 0;
    try {
      const segments = listSegments(folder);
      for (const [index, { path }] of segments.entries()) {
        // Its relay may have deleted it since it was listed.
        const size = this.sizes.get(path) ?? statSync(path, { throwIfNoEntry: false })?.size ?? 0;
        if (index < segments.length - 1) sizes.set(path, size);
        bytes += size;
      }
      return bytes;
    } catch (error) {
      return errorCode(error) === 'ENOENT' ? bytes : (this.latest.get(folder) ?? 0);
    }
  }
}
