import { statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../common/errors.ts';
import { isUuid } from '../common/uuid.ts';
import { isSegmentName } from './spool-format.ts';

/** Segments that are measured in one event-loop iteration: less than 1 ms of work if their sizes are known. */
const SEGMENTS_AT_ONCE = 500;

/** Measures the spools in a folder again and again, those of other processes and of ended ones included. */
export class SpoolUsage {
  private readonly root: string;
  private readonly ownId: string;
  /** Sizes of segments that have ended, by path. They do not change any more. */
  private sizes = new Map<string, number>();
  /** The result of the latest measurement; empty before the first one. */
  latest: ReadonlyMap<string, number> = new Map();

  /** `root`: the folder of the spools; `ownId`: the spool that its own process counts itself, which is left out. */
  constructor(root: string, ownId: string) {
    this.root = root;
    this.ownId = ownId;
  }

  /**
   * Returns the bytes of the segments of each spool, by its folder. A spool that cannot be listed, or all of them, have the bytes of the
   * measurement before. Redirects do not wait for many segments. Call it again only after it has ended.
   */
  async measure(): Promise<ReadonlyMap<string, number>> {
    const sizes = new Map<string, number>();
    const usage = new Map<string, number>();
    try {
      for (const spoolId of await readdir(this.root)) {
        if (!isUuid(spoolId) || spoolId === this.ownId) continue;
        const folder = join(this.root, spoolId);
        usage.set(folder, await this.measureSpool(folder, sizes));
      }
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') return this.latest;
    }
    this.sizes = sizes;
    this.latest = usage;
    return usage;
  }

  private async measureSpool(folder: string, sizes: Map<string, number>): Promise<number> {
    let bytes = 0;
    try {
      const names = (await readdir(folder)).filter(isSegmentName);
      // Of a spool in use, this one may still grow. Names have the same length.
      const last = names.reduce((latest, name) => (name > latest ? name : latest), '');
      for (const [index, name] of names.entries()) {
        if (index % SEGMENTS_AT_ONCE === SEGMENTS_AT_ONCE - 1)
          await new Promise((resolve) => setImmediate(resolve));
        const path = join(folder, name);
        // Its relay may have deleted it since it was listed.
        const size = this.sizes.get(path) ?? statSync(path, { throwIfNoEntry: false })?.size ?? 0;
        if (name !== last) sizes.set(path, size);
        bytes += size;
      }
      return bytes;
    } catch (error) {
      return errorCode(error) === 'ENOENT' ? bytes : (this.latest.get(folder) ?? 0);
    }
  }
}
