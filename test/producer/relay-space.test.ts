import { describe, expect, it } from 'vitest';
import { adoptSpool } from '../../producer/dead-spools.ts';
import { FakeBroker, startRelay } from '../support/relay-fixture.ts';
import { areMountsSkipped, fill, smallDisk } from '../support/small-disk.ts';
import { append, bytesOnDisk, clickText, openSpool } from '../support/spool-fixture.ts';
import { until } from '../support/until.ts';

describe('a relay deletes relayed segments', () => {
  it('so that a full spool accepts clicks again', async () => {
    const spool = openSpool({ bytesMax: 65_536, segmentBytes: 16_384 });
    const broker = new FakeBroker();
    broker.before = () => {
      throw new Error('The broker is unavailable');
    };
    startRelay(spool, broker);
    while (!(await append(spool, [clickText(1, 1_000)])).includes(null));
    const full = spool.accepted;
    broker.before = () => {};
    await until('free space', async () => !(await append(spool, [clickText(2, 1_000)])).includes(null));
    expect(spool.accepted).toBe(full + 1);
    await until('all to be published', () => broker.clicks.length === full + 1);
    expect(spool.bytes).toBe(bytesOnDisk(spool.folder));
  });

  it('also if it had relayed everything before the spool was full, while the only segment was open', async () => {
    // The settings allow a segment to be as large as the spool. The last click does not fill it exactly.
    const spool = openSpool({ bytesMax: 65_536, segmentBytes: 65_536 });
    const broker = new FakeBroker();
    startRelay(spool, broker);
    let accepted = 0;
    while (!(await append(spool, [clickText(1, 1_100)])).includes(null)) {
      accepted += 1;
      await until('the click to be published', () => broker.clicks.length === accepted);
    }
    expect(accepted).toBeGreaterThan(50);
    await until('free space', async () => !(await append(spool, [clickText(2, 1_100)])).includes(null));
  });

  it('and counts the bytes on disk correctly', async () => {
    const spool = openSpool({ bytesMax: 65_536, segmentBytes: 8_192 });
    const broker = new FakeBroker();
    startRelay(spool, broker);
    for (let round = 0; round < 5; round += 1) {
      await append(
        spool,
        Array.from({ length: 100 }, (_, index) => clickText(index, 1_000)),
      );
      // Checks the disk and opens a segment, as the ad server does every second.
      spool.probe();
      await until('all to be published', () => broker.clicks.length === spool.accepted);
      spool.probe();
      spool.roll();
      await append(spool, [clickText(1)]);
      await until('this one too', () => broker.clicks.length === spool.accepted);
    }
    await until('the count to be right', () => spool.bytes === bytesOnDisk(spool.folder));
  });
});

describe.skipIf(areMountsSkipped)(
  'on a disk that is full (a mount of a few pages: as root, on Linux)',
  () => {
    it('a relay continues, because it frees space', async () => {
      const disk = smallDisk('256k');
      const spool = openSpool({ root: disk, segmentBytes: 8_192 });
      await append(
        spool,
        Array.from({ length: 40 }, (_, index) => clickText(index, 1_000)),
      );
      spool.roll();
      fill(disk);
      const broker = new FakeBroker();
      const { done } = startRelay(spool, broker);
      const failed = done.then(() => null);
      await expect(
        Promise.race([failed, until('all to be published', () => broker.clicks.length === 40)]),
      ).resolves.toBe(true);
      await until('free space', async () => !(await append(spool, [clickText(41)])).includes(null));
    });

    it('a dead spool is adopted and relayed', async () => {
      const disk = smallDisk('256k');
      const spool = openSpool({ root: disk, segmentBytes: 8_192 });
      await append(
        spool,
        Array.from({ length: 40 }, (_, index) => clickText(index, 1_000)),
      );
      spool.close();
      spool.close = () => {};
      fill(disk);
      const dead = await adoptSpool(spool.folder);
      if (dead === null) throw new Error('Expected to adopt the dead spool');
      const broker = new FakeBroker();
      const { relay, done } = startRelay({ ...dead, openSegment: null, roll: () => {} }, broker);
      relay.end();
      await expect(done).resolves.toBe(true);
      dead.release();
      expect(broker.clicks).toHaveLength(40);
    });

    it('a spool that filled the disk accepts clicks again after it is relayed', async () => {
      const disk = smallDisk('256k');
      const spool = openSpool({ root: disk });
      // The relay has saved a position, so that its file has a page already.
      const broker = new FakeBroker();
      startRelay(spool, broker);
      await append(spool, [clickText(1)]);
      await until('the first to be published', () => broker.clicks.length === 1);
      let accepted = 1;
      while (!(await append(spool, [clickText(1, 4_000)])).includes(null)) {
        accepted += 1;
        await until('the click to be published', () => broker.clicks.length === accepted);
      }
      expect(spool.problem).toContain('ENOSPC');
      await until('free space', async () => {
        spool.probe();
        return !(await append(spool, [clickText(2, 4_000)])).includes(null);
      });
    });
  },
);
