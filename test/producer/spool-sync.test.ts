import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { append, openSpool, readBack } from '../support/spool-bench.ts';
import { until } from '../support/until.ts';

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

/** Holds every `fdatasync` of the process until it is told how it ended. */
function heldSyncs(): ((error: NodeJS.ErrnoException | null) => void)[] {
  const held: ((error: NodeJS.ErrnoException | null) => void)[] = [];
  vi.spyOn(fs, 'fdatasync').mockImplementation((_file, callback) => void held.push(callback));
  syncBuiltinESMExports();
  return held;
}

describe('SPOOL_SYNC=each', () => {
  it('answers only after the disk has confirmed the click', async () => {
    const held = heldSyncs();
    const spool = openSpool({ sync: 'each' });
    const told: (number | null)[] = [];
    spool.append('a', (sequence) => told.push(sequence));
    await until('a sync to begin', () => held.length === 1);
    expect(readBack(spool.folder, 1).clicks).toEqual(['a']);
    expect(told).toEqual([]);
    held.shift()?.(null);
    expect(told).toEqual([1]);
  });

  it('lets clicks that come while a sync runs share the next one', async () => {
    const held = heldSyncs();
    const spool = openSpool({ sync: 'each' });
    const told: (number | null)[] = [];
    const later = () => new Promise((resolve) => setImmediate(resolve));
    spool.append('a', (sequence) => told.push(sequence));
    await until('a sync to begin', () => held.length === 1);
    for (const click of ['b', 'c', 'd']) {
      spool.append(click, (sequence) => told.push(sequence));
      await later();
    }
    expect(held).toHaveLength(1);
    held.shift()?.(null);
    expect(told).toEqual([1]);
    expect(held).toHaveLength(1);
    held.shift()?.(null);
    expect(told).toEqual([1, 2, 3, 4]);
    expect(held).toEqual([]);
  });

  it('answers, and says what is wrong, where the disk fails to confirm', async () => {
    const held = heldSyncs();
    const spool = openSpool({ sync: 'each' });
    const told: (number | null)[] = [];
    spool.append('a', (sequence) => told.push(sequence));
    await until('a sync to begin', () => held.length === 1);
    held.shift()?.(Object.assign(new Error('EIO: i/o error'), { code: 'EIO' }));
    expect(told).toEqual([1]);
    expect(spool.problem).toContain('EIO');
  });

  it('confirms with a real disk, over many segments', async () => {
    const spool = openSpool({ sync: 'each', segmentBytes: 4_096 });
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, index) => append(spool, [`${index}`.padEnd(500, 'x')])),
    );
    expect(answers.flat()).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
    expect(readBack(spool.folder, 200).clicks).toHaveLength(200);
  });

  it('answers what waits when the spool is finished', async () => {
    const spool = openSpool({ sync: 'each' });
    const answers = append(spool, ['a', 'b']);
    spool.finish();
    expect(await answers).toEqual([1, 2]);
  });
});

describe('SPOOL_SYNC=interval', () => {
  it('answers at once, and syncs what was written soon after, again and again', async () => {
    const held = heldSyncs();
    const spool = openSpool({ sync: 'interval', syncIntervalMs: 5 });
    expect(await append(spool, ['a'])).toEqual([1]);
    for (let count = 0; count < 3; count += 1) {
      await until('a sync to begin', () => held.length === 1);
      held.shift()?.(null);
    }
  });
});

describe.each(['each', 'interval'] as const)(
  'SPOOL_SYNC=%s on a disk without room to keep the folder',
  (sync) => {
    it.each(['ENOSPC', 'EDQUOT'])(
      'starts all the same (%s), and takes clicks once the folder is kept',
      async (code) => {
        const fsync = vi.spyOn(fs, 'fsyncSync').mockImplementation(() => {
          throw Object.assign(new Error(`${code}: no space left on device, fsync`), { code });
        });
        syncBuiltinESMExports();
        const spool = openSpool({ sync });
        expect(spool.problem).toContain(code);
        expect(await append(spool, ['refused'])).toEqual([null]);
        fsync.mockClear().mockImplementation(() => {});
        spool.probe();
        expect(spool.problem).toBeNull();
        expect(await append(spool, ['taken'])).toEqual([1]);
        // The folder in its root, and the segment in the folder.
        expect(fsync).toHaveBeenCalledTimes(2);
        expect(readBack(spool.folder, 1).clicks).toEqual(['taken']);
      },
    );

    it('does not start where the disk is broken', () => {
      vi.spyOn(fs, 'fsyncSync').mockImplementation(() => {
        throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' });
      });
      syncBuiltinESMExports();
      expect(() => openSpool({ sync })).toThrow('EIO: i/o error, fsync');
    });
  },
);

describe.each(['each', 'interval'] as const)('SPOOL_SYNC=%s', (sync) => {
  it('forces the root, the folder and each segment that ends to disk', async () => {
    const fsync = vi.spyOn(fs, 'fsyncSync');
    const fdatasync = vi.spyOn(fs, 'fdatasyncSync');
    syncBuiltinESMExports();
    const spool = openSpool({ sync, segmentBytes: 4_096 });
    expect(fsync, 'of the root').toHaveBeenCalledTimes(1);
    expect(await append(spool, ['x'.repeat(4_000)])).toEqual([1]);
    expect(fsync, 'of the folder with its first segment').toHaveBeenCalledTimes(2);
    expect(fdatasync).not.toHaveBeenCalled();
    expect(await append(spool, ['x'.repeat(4_000)])).toEqual([2]);
    expect(fdatasync, 'of the segment that is full').toHaveBeenCalledTimes(1);
    expect(spool.openSegment).toBeNull();
    expect(await append(spool, ['x'])).toEqual([3]);
    expect(fsync, 'of the folder with its second segment').toHaveBeenCalledTimes(3);
    spool.finish();
    expect(fdatasync, 'of the last segment').toHaveBeenCalledTimes(2);
  });
});

it.each(['each', 'interval', 'os'] as const)(
  'with SPOOL_SYNC=%s, a spool that refuses for want of room has no segment open',
  async (sync) => {
    const spool = openSpool({ sync, bytesMax: 9_000, segmentBytes: 9_000 });
    expect(await append(spool, ['x'.repeat(6_000)])).toEqual([1]);
    expect(spool.openSegment).toBe(1);
    expect(await append(spool, ['x'.repeat(6_000)])).toEqual([null]);
    expect(spool.openSegment).toBeNull();
  },
);

describe('SPOOL_SYNC=os', () => {
  it('leaves syncing to the system', async () => {
    const held = heldSyncs();
    const syncs = [vi.spyOn(fs, 'fdatasyncSync'), vi.spyOn(fs, 'fsyncSync')];
    syncBuiltinESMExports();
    const spool = openSpool();
    await append(spool, ['a']);
    spool.finish();
    expect(held).toEqual([]);
    for (const sync of syncs) expect(sync).not.toHaveBeenCalled();
  });
});
