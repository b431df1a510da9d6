import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { append, openSpool, readBack } from '../support/spool-fixture.ts';
import { until } from '../support/until.ts';

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

/** Holds every `fdatasync` of the process until the test calls its callback. */
function heldSyncs(): ((error: NodeJS.ErrnoException | null) => void)[] {
  const held: ((error: NodeJS.ErrnoException | null) => void)[] = [];
  vi.spyOn(fs, 'fdatasync').mockImplementation((_file, callback) => void held.push(callback));
  syncBuiltinESMExports();
  return held;
}

/** The files below a folder that this process has open. */
function openBelow(folder: string): string[] {
  return fs.readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      const path = fs.readlinkSync(`/proc/self/fd/${descriptor}`);
      return path.startsWith(folder) ? [path] : [];
    } catch {
      return [];
    }
  });
}

describe.runIf(process.platform === 'linux')('a disk that cannot be synced', () => {
  const broken = () => {
    throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
  };

  it('keeps no segment open that could not be begun', async () => {
    const spool = openSpool({ sync: 'interval' });
    await append(spool, ['a']);
    spool.roll();
    const before = openBelow(spool.folder);
    vi.spyOn(fs, 'fsyncSync').mockImplementation(broken);
    syncBuiltinESMExports();
    for (let count = 0; count < 5; count += 1) expect(await append(spool, ['b'])).toEqual([null]);
    expect(openBelow(spool.folder)).toEqual(before);
    vi.restoreAllMocks();
    syncBuiltinESMExports();
    expect(await append(spool, ['c'])).toEqual([2]);
  });

  it('keeps no segment open that could not be ended', async () => {
    const spool = openSpool({ sync: 'interval' });
    await append(spool, ['a']);
    const before = openBelow(spool.folder);
    vi.spyOn(fs, 'fdatasyncSync').mockImplementation(broken);
    syncBuiltinESMExports();
    spool.roll();
    expect(openBelow(spool.folder)).toHaveLength(before.length - 1);
    expect(await append(spool, ['b'])).toEqual([2]);
  });
});

describe('SPOOL_SYNC=each', () => {
  it('runs the callback only after the click is synced', async () => {
    const held = heldSyncs();
    const spool = openSpool({ sync: 'each' });
    const sequences: (number | null)[] = [];
    spool.append('a', (sequence) => sequences.push(sequence));
    await until('a sync to begin', () => held.length === 1);
    expect(readBack(spool.folder, 1).clicks).toEqual(['a']);
    expect(sequences).toEqual([]);
    held.shift()?.(null);
    expect(sequences).toEqual([1]);
  });

  it('lets clicks that arrive during a sync share the next one', async () => {
    const held = heldSyncs();
    const spool = openSpool({ sync: 'each' });
    const sequences: (number | null)[] = [];
    const later = () => new Promise((resolve) => setImmediate(resolve));
    spool.append('a', (sequence) => sequences.push(sequence));
    await until('a sync to begin', () => held.length === 1);
    for (const click of ['b', 'c', 'd']) {
      spool.append(click, (sequence) => sequences.push(sequence));
      await later();
    }
    expect(held).toHaveLength(1);
    held.shift()?.(null);
    expect(sequences).toEqual([1]);
    expect(held).toHaveLength(1);
    held.shift()?.(null);
    expect(sequences).toEqual([1, 2, 3, 4]);
    expect(held).toEqual([]);
  });

  it('runs the callback and reports a problem if the sync fails', async () => {
    const held = heldSyncs();
    const spool = openSpool({ sync: 'each' });
    const sequences: (number | null)[] = [];
    spool.append('a', (sequence) => sequences.push(sequence));
    await until('a sync to begin', () => held.length === 1);
    held.shift()?.(Object.assign(new Error('EIO: i/o error'), { code: 'EIO' }));
    expect(sequences).toEqual([1]);
    expect(spool.problem).toContain('EIO');
  });

  it('works on a real disk, with many segments', async () => {
    const spool = openSpool({ sync: 'each', segmentBytes: 4_096 });
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, index) => append(spool, [`${index}`.padEnd(500, 'x')])),
    );
    expect(answers.flat()).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
    expect(readBack(spool.folder, 200).clicks).toHaveLength(200);
  });

  it('runs the waiting callbacks when the spool is finished', async () => {
    const spool = openSpool({ sync: 'each' });
    const answers = append(spool, ['a', 'b']);
    spool.finish();
    expect(await answers).toEqual([1, 2]);
  });
});

describe('SPOOL_SYNC=interval', () => {
  it('runs the callback at once, and syncs repeatedly', async () => {
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
  'SPOOL_SYNC=%s on a disk where the folder cannot be synced',
  (sync) => {
    it.each(['ENOSPC', 'EDQUOT'])(
      'starts (%s), and accepts clicks after the folder is synced',
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

    it('does not start on a broken disk', () => {
      vi.spyOn(fs, 'fsyncSync').mockImplementation(() => {
        throw Object.assign(new Error('EIO: i/o error, fsync'), { code: 'EIO' });
      });
      syncBuiltinESMExports();
      expect(() => openSpool({ sync })).toThrow('EIO: i/o error, fsync');
    });
  },
);

describe.each(['each', 'interval'] as const)('SPOOL_SYNC=%s', (sync) => {
  it('syncs the root, the folder and each segment that ends', async () => {
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
  'with SPOOL_SYNC=%s, a full spool has no open segment',
  async (sync) => {
    const spool = openSpool({ sync, bytesMax: 9_000, segmentBytes: 9_000 });
    expect(await append(spool, ['x'.repeat(6_000)])).toEqual([1]);
    expect(spool.openSegment).toBe(1);
    expect(await append(spool, ['x'.repeat(6_000)])).toEqual([null]);
    expect(spool.openSegment).toBeNull();
  },
);

describe('SPOOL_SYNC=os', () => {
  it('leaves syncing to the operating system', async () => {
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
