import fs, { rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Spool } from '../../producer/spool.ts';
import { FRAME_HEADER_BYTES, SEGMENT_HEADER } from '../../producer/spool-format.ts';
import { silent } from '../support/loggers.ts';
import { FakeBroker, startTestRelays } from '../support/relay-fixture.ts';
import { areMountsSkipped, fill, fillWithFiles, smallDisk } from '../support/small-disk.ts';
import { append, bytesOnDisk, clickText, openSpool, ROOMY, readBack } from '../support/spool-fixture.ts';
import { until } from '../support/until.ts';

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

describe.skipIf(areMountsSkipped)(
  'a spool on a full disk (a mount of a few pages: as root, on Linux)',
  () => {
    it('accepts the clicks that fit, refuses the rest, and accepts clicks again when there is space', async () => {
      const disk = smallDisk('256k');
      const spool = openSpool({ root: disk });
      const ballast = join(disk, 'ballast');
      writeFileSync(ballast, Buffer.alloc(128 * 1_024));
      const expected: string[] = [];
      const appendAll = async (from: number): Promise<boolean> => {
        const clicks = Array.from({ length: 10 }, (_, index) => clickText(from + index, 700));
        const sequences = await append(spool, clicks);
        const accepted = sequences.filter((sequence) => sequence !== null);
        // The accepted clicks are the first ones of the batch, and their sequences have no gap.
        expect(sequences).toEqual([
          ...accepted.map((_, index) => expected.length + 1 + index),
          ...Array.from({ length: 10 - accepted.length }, () => null),
        ]);
        expected.push(...clicks.slice(0, accepted.length));
        expect(readBack(spool.folder, spool.accepted)).toEqual({ clicks: expected, damaged: 0 });
        return accepted.length === 10;
      };
      let from = 0;
      while (await appendAll(from)) from += 10;
      expect(expected.length).toBeGreaterThan(100);
      expect(spool.problem).toContain('ENOSPC');
      for (let count = 0; count < 5; count += 1) expect(await appendAll(1_000 + count)).toBe(false);
      rmSync(ballast);
      for (let count = 0; count < 5; count += 1) expect(await appendAll(2_000 + count)).toBe(true);
      expect(spool.problem).toBeNull();
    });

    it('has no problem any more when there is space, before the next click', async () => {
      const disk = smallDisk('256k');
      const spool = openSpool({ root: disk });
      const ballast = fill(disk);
      expect(await append(spool, ['a'])).toEqual([null]);
      expect(spool.problem).toContain('ENOSPC');
      spool.probe();
      expect(spool.problem).not.toBeNull();
      rmSync(ballast);
      spool.probe();
      expect(spool.problem).toBeNull();
      expect(await append(spool, ['b'])).toEqual([1]);
      expect(readBack(spool.folder, 1)).toEqual({ clicks: ['b'], damaged: 0 });
    });
  },
);

describe.skipIf(areMountsSkipped)('a disk without space for another folder', () => {
  const full = () => {
    const disk = smallDisk('1m', 20);
    const dead = new Spool({ ...ROOMY, root: disk }, silent);
    return { disk, dead, fill: () => fillWithFiles(disk) };
  };

  it('does not prevent a start: clicks are refused until there is space', async () => {
    const { disk, dead, fill: fillUp } = full();
    dead.close();
    const ballast = fillUp();
    const spool = openSpool({ root: disk });
    expect(spool.problem).toContain('ENOSPC');
    expect(await append(spool, ['a'])).toEqual([null]);
    spool.probe();
    expect(spool.problem).toContain('ENOSPC');
    for (const path of ballast) rmSync(path);
    spool.probe();
    expect(spool.problem).toBeNull();
    expect(await append(spool, ['b'])).toEqual([1]);
    expect(readBack(spool.folder, 1)).toEqual({ clicks: ['b'], damaged: 0 });
  });

  it('gets space when an abandoned spool is relayed', async () => {
    const { disk, dead, fill: fillUp } = full();
    await append(dead, ['before']);
    dead.close();
    fillUp();
    const spool = openSpool({ root: disk });
    expect(spool.problem).toContain('ENOSPC');
    const broker = new FakeBroker();
    const relays = startTestRelays({ spool, publisher: broker });
    await until('the spool to be relayed', () => broker.clicks.includes('before'));
    await until('free space', () => {
      spool.probe();
      return spool.problem === null;
    });
    expect(await append(spool, ['after'])).toEqual([1]);
    await until('the click to be relayed', () => broker.clicks.includes('after'));
    await relays.close();
  });

  it('does not prevent the end of a spool without a folder', async () => {
    const { disk, dead, fill: fillUp } = full();
    dead.close();
    fillUp();
    const spool = openSpool({ root: disk });
    const relays = startTestRelays({ spool, publisher: new FakeBroker(), adoptMs: 60_000 });
    await relays.close();
  });
});

describe('a short write', () => {
  it.each([0, 1, 8, 500, 1_000, 1_500, 2_999])(
    'of %i bytes accepts the clicks that are whole in it and no others',
    async (bytes) => {
      const spool = openSpool();
      expect(await append(spool, ['before'])).toEqual([1]);
      const { writeSync } = fs;
      let left = bytes;
      const write = (file: number, buffer: Uint8Array, offset: number, length: number, position: number) => {
        if (left === 0) throw Object.assign(new Error('ENOSPC: no space left'), { code: 'ENOSPC' });
        const written = writeSync(file, buffer, offset, Math.min(left, length), position);
        left -= written;
        return written;
      };
      vi.spyOn(fs, 'writeSync').mockImplementation(write as typeof writeSync);
      syncBuiltinESMExports();
      const clicks = Array.from({ length: 6 }, (_, index) => clickText(index, 500 - FRAME_HEADER_BYTES));
      const sequences = await append(spool, clicks);
      const whole = Math.floor(bytes / 500);
      expect(sequences).toEqual(clicks.map((_, index) => (index < whole ? index + 2 : null)));
      expect(spool.problem).toContain('ENOSPC');
      // The incomplete rest is truncated: it would take space that is not counted.
      expect(bytesOnDisk(spool.folder)).toBe(spool.bytes);
      vi.restoreAllMocks();
      syncBuiltinESMExports();
      expect(await append(spool, ['after'])).toEqual([whole + 2]);
      expect(spool.problem).toBeNull();
      expect(readBack(spool.folder, spool.accepted)).toEqual({
        clicks: ['before', ...clicks.slice(0, whole), 'after'],
        damaged: 0,
      });
    },
  );

  it('to a new segment that cannot be truncated loses no accepted click', async () => {
    const spool = openSpool();
    const { writeSync } = fs;
    const real = ((...given: Parameters<typeof writeSync>) => writeSync(...given)) as typeof writeSync;
    const partly = ((file: number, buffer: Uint8Array) =>
      writeSync(file, buffer, 0, 700, SEGMENT_HEADER.length)) as typeof writeSync;
    vi.spyOn(fs, 'writeSync')
      .mockImplementation(() => 0)
      .mockImplementationOnce(real)
      .mockImplementationOnce(partly);
    vi.spyOn(fs, 'ftruncateSync').mockImplementation(() => {
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    });
    syncBuiltinESMExports();
    const clicks = [1, 2].map((number) => clickText(number, 500 - FRAME_HEADER_BYTES));
    expect(await append(spool, clicks)).toEqual([1, null]);
    vi.restoreAllMocks();
    syncBuiltinESMExports();
    expect(await append(spool, ['after'])).toEqual([2]);
    expect(readBack(spool.folder, 2)).toEqual({ clicks: [clicks[0], 'after'], damaged: 0 });
  });

  it('to a segment that cannot be truncated loses no later click', async () => {
    const spool = openSpool();
    await append(spool, ['before']);
    const { writeSync } = fs;
    vi.spyOn(fs, 'writeSync').mockImplementationOnce(((file: number, buffer: Uint8Array) =>
      writeSync(
        file,
        buffer,
        0,
        700,
        SEGMENT_HEADER.length + FRAME_HEADER_BYTES + 'before'.length,
      )) as typeof writeSync);
    vi.spyOn(fs, 'writeSync').mockImplementation(() => 0);
    vi.spyOn(fs, 'ftruncateSync').mockImplementation(() => {
      throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    });
    syncBuiltinESMExports();
    expect(
      await append(spool, [clickText(1, 500 - FRAME_HEADER_BYTES), clickText(2, 500 - FRAME_HEADER_BYTES)]),
    ).toContain(null);
    vi.restoreAllMocks();
    syncBuiltinESMExports();
    const { accepted } = spool;
    expect(await append(spool, ['after'])).toEqual([accepted + 1]);
    const { clicks, damaged } = readBack(spool.folder, spool.accepted);
    expect(damaged).toBe(0);
    expect(clicks.at(0)).toBe('before');
    expect(clicks.at(-1)).toBe('after');
    expect(clicks).toHaveLength(spool.accepted);
  });
});

it('a file whose header cannot be written and that cannot be closed either, as on a network disk, refuses its clicks', async () => {
  const spool = openSpool();
  const full = () => {
    throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
  };
  vi.spyOn(fs, 'writeSync').mockImplementation(full);
  const { closeSync } = fs;
  vi.spyOn(fs, 'closeSync').mockImplementation((file) => {
    closeSync(file);
    full();
  });
  syncBuiltinESMExports();
  expect(await append(spool, ['a', 'b'])).toEqual([null, null]);
  expect(spool.problem).toContain('ENOSPC');
  vi.restoreAllMocks();
  syncBuiltinESMExports();
  spool.probe();
  expect(spool.problem).toBeNull();
  expect(await append(spool, ['c'])).toEqual([1]);
});
