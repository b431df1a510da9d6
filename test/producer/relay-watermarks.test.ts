import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sleep } from '../../common/process.ts';
import { adoptDeadSpools, type DeadSpool } from '../../producer/dead-spools.ts';
import { readRelayed } from '../../producer/relay-position.ts';
import { FRAME_HEADER_BYTES, listSegments, SEGMENT_HEADER } from '../../producer/spool-format.ts';
import { stepSystemClock } from '../support/clock-step.ts';
import { counterValue } from '../support/redirect-fixture.ts';
import { FakeBroker, startRelay } from '../support/relay-fixture.ts';
import { append, clickText, openSpool } from '../support/spool-fixture.ts';
import { until } from '../support/until.ts';

/** Changes one byte of a click in a segment of clicks with equal length. */
function damageClick(path: string, index: number, clickBytes: number): void {
  const bytes = readFileSync(path);
  const at = SEGMENT_HEADER.length + index * (FRAME_HEADER_BYTES + clickBytes) + FRAME_HEADER_BYTES + 5;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

/** Adopts the only spool below `root`. */
async function adoptOnly(
  root: string,
): Promise<DeadSpool & { bytes: number; openSegment: null; roll: () => void }> {
  const [dead, ...more] = await Array.fromAsync(adoptDeadSpools(root));
  if (!dead || more.length > 0) throw new Error(`Expected one dead spool in ${root}`);
  return { ...dead, openSegment: null, roll: () => {} };
}

describe('a watermark', () => {
  it('is published after all the clicks that it counts', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    broker.before = () => new Promise((resolve) => setImmediate(resolve));
    const { relay, done } = startRelay(spool, broker, { batchMax: 10, watermarkIntervalMs: 1 });
    for (let count = 0; count < 40; count += 1) await append(spool, [clickText(count), clickText(count)]);
    relay.end();
    expect(await done).toBe(true);
    let published = 0;
    for (const entry of broker.log) {
      if (entry.startsWith('watermark '))
        expect(Number(entry.slice('watermark '.length))).toBeLessThanOrEqual(published);
      else published = Number(entry);
    }
    const watermarks = broker.watermarks.map(({ accepted }) => accepted);
    expect(watermarks).toEqual([...watermarks].sort((one, other) => one - other));
    expect(broker.log.at(-1)).toBe('watermark 80');
    for (const { spoolId } of broker.watermarks) expect(spoolId).toBe(spool.spoolId);
  });

  it('is published without further clicks', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    startRelay(spool, broker);
    await append(spool, [clickText(1)]);
    await append(spool, [clickText(2)]);
    await until('a watermark of both clicks', () => broker.watermarks.at(-1)?.accepted === 2);
  });

  it('that a partition refuses delays no click, and is sent once it is accepted', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    const { publishEverywhere } = broker;
    let refusals = 0;
    broker.publishEverywhere = () => {
      refusals += 1;
      return Promise.reject(new Error('partition 3 has no leader'));
    };
    const { relay, done } = startRelay(spool, broker, { watermarkIntervalMs: 1 });
    await append(spool, [clickText(0)]);
    await until('a refused watermark', () => refusals > 0);
    for (let count = 1; count < 5; count += 1) {
      await append(spool, [clickText(count)]);
      await until('the click', () => broker.clicks.length === count + 1, 5_000);
    }
    expect(relay.problem).toBeNull();
    expect(broker.watermarks).toEqual([]);
    broker.publishEverywhere = publishEverywhere;
    relay.end();
    expect(await done).toBe(true);
    expect(broker.watermarks.at(-1)?.accepted).toBe(5);
  });

  it('has the latest number in each attempt: other partitions may have taken the one before', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    const tried: number[] = [];
    broker.publishEverywhere = async ({ value }) => {
      tried.push(JSON.parse(String(value)).watermark.accepted);
      throw new Error('Partition 3 has no leader');
    };
    startRelay(spool, broker);
    await append(spool, [clickText(1)]);
    await until('the first attempt', () => tried.at(-1) === 1);
    await append(spool, [clickText(2), clickText(3)]);
    await until('an attempt with all clicks', () => tried.at(-1) === 3);
    expect(tried).toEqual(tried.toSorted((one, other) => one - other));
  });

  it.each([
    ['takes, however slowly, is the last one', true],
    ['refuses is left to the next relay', false],
  ])('that the broker %s', async (_, isTaken) => {
    const spool = openSpool();
    const broker = new FakeBroker();
    const { relay, done } = startRelay(spool, broker, { lastWatermarkMs: 20, watermarkIntervalMs: 60_000 });
    await append(spool, [clickText(1)]);
    await until('the watermark', () => broker.watermarks.length === 1);
    broker.before = async () => {
      await sleep(100);
      if (!isTaken) throw new Error('Partition 3 has no leader');
    };
    relay.end();
    expect(await done).toBe(isTaken);
    expect(existsSync(spool.folder)).toBe(!isTaken);
  });

  it('is sent after the system clock was set back', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    startRelay(spool, broker);
    await append(spool, [clickText(1)]);
    await until('a watermark', () => broker.watermarks.at(-1)?.accepted === 1);
    stepSystemClock(-3 * 3_600_000);
    await append(spool, [clickText(2)]);
    await until('a watermark of both clicks', () => broker.watermarks.at(-1)?.accepted === 2);
  });

  it('is not repeated while no click is accepted', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    startRelay(spool, broker, { watermarkIntervalMs: 1 });
    await append(spool, [clickText(1)]);
    await until('a watermark', () => broker.watermarks.length === 1);
    await append(spool, [clickText(2)]);
    await until('another', () => broker.watermarks.at(-1)?.accepted === 2);
    expect(broker.watermarks).toHaveLength(2);
  });

  it('is published again until the broker confirms it', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    await append(spool, [clickText(1)]);
    let refusals = 0;
    broker.before = () => {
      if (broker.clicks.length === 1 && refusals++ < 4) throw new Error('The broker is unavailable');
    };
    const { relay, done } = startRelay(spool, broker);
    relay.end();
    expect(await done).toBe(true);
    expect(refusals).toBeGreaterThan(4);
    expect(broker.watermarks.at(-1)?.accepted).toBe(1);
  });

  it('is the last record of a spool; then the folder is removed', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    const { relay, done } = startRelay(spool, broker, { watermarkIntervalMs: 60_000 });
    await append(spool, [clickText(1)]);
    await until('the first watermark', () => broker.watermarks.length === 1);
    await append(spool, [clickText(2), clickText(3)]);
    await until('all to be published', () => broker.clicks.length === 3);
    expect(broker.watermarks).toHaveLength(1);
    spool.finish();
    relay.end();
    expect(await done).toBe(true);
    expect(broker.log.at(-1)).toBe('watermark 3');
    expect(existsSync(spool.folder)).toBe(false);
  });

  it('is not published for a spool without clicks; the folder is removed', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    const { relay, done } = startRelay(spool, broker);
    relay.end();
    expect(await done).toBe(true);
    expect(broker.log).toEqual([]);
    expect(existsSync(spool.folder)).toBe(false);
  });

  it('of a dead spool is published again even if all its clicks were published before', async () => {
    const spool = openSpool();
    await append(spool, [clickText(1), clickText(2)]);
    const before = new FakeBroker();
    const first = startRelay(spool, before);
    await until('the position to be saved', () => readRelayed(spool.folder) === 2);
    first.relay.abort();
    expect(await first.done).toBe(false);
    spool.roll();
    const broker = new FakeBroker();
    const dead = { ...withoutLock(spool.folder, spool.spoolId), accepted: spool.accepted };
    const second = startRelay(dead, broker);
    second.relay.end();
    expect(await second.done).toBe(true);
    expect(broker.clicks).toEqual([]);
    expect(broker.watermarks.at(-1)).toEqual({ spoolId: spool.spoolId, accepted: 2 });
  });
});

/** A spool for a relay, without taking its lock. */
function withoutLock(folder: string, spoolId: string) {
  return { spoolId, folder, openSegment: null, roll: () => {}, bytes: 0 };
}

describe('a damaged click', () => {
  it('is skipped and counted as damaged, and the watermark includes it', async () => {
    const spool = openSpool();
    const clicks = [1, 2, 3].map((number) => clickText(number));
    await append(spool, clicks);
    spool.roll();
    await append(spool, ['after']);
    damageClick(listSegments(spool.folder)[0]?.path ?? '', 1, clicks[0]?.length ?? 0);
    const broker = new FakeBroker();
    const { relay, done, metrics } = startRelay(spool, broker);
    relay.end();
    expect(await done).toBe(true);
    expect(broker.clicks.at(0)).toBe(clicks[0]);
    expect(broker.clicks.at(-1)).toBe('after');
    expect(broker.keys.at(-1)).toBe(`${spool.spoolId}.4`);
    const damaged = await counterValue(metrics.spoolDamaged);
    expect(damaged).toBeGreaterThan(0);
    expect(broker.clicks.length + damaged).toBe(4);
    expect(broker.watermarks.at(-1)?.accepted).toBe(4);
  });

  it('in the open segment does not stop later clicks', async () => {
    const spool = openSpool();
    const clicks = [1, 2].map((number) => clickText(number));
    await append(spool, clicks);
    damageClick(listSegments(spool.folder)[0]?.path ?? '', 1, clicks[0]?.length ?? 0);
    const broker = new FakeBroker();
    const { metrics } = startRelay(spool, broker);
    await until('the damage to be found', async () => (await counterValue(metrics.spoolDamaged)) === 1);
    await append(spool, ['later']);
    await until('the later click', () => broker.clicks.includes('later'));
    await until('its watermark', () => broker.watermarks.at(-1)?.accepted === 3);
    expect(broker.keys).toEqual([1, 3].map((sequence) => `${spool.spoolId}.${sequence}`));
  });

  it('in the last segment of a dead spool is included in the watermark, and the clicks behind it are published', async () => {
    const spool = openSpool();
    const clicks = [1, 2, 3, 4].map((number) => clickText(number));
    await append(spool, clicks);
    const root = dirname(spool.folder);
    damageClick(listSegments(spool.folder)[0]?.path ?? '', 1, clicks[0]?.length ?? 0);
    spool.close();
    spool.close = () => {};
    const broker = new FakeBroker();
    const dead = await adoptOnly(root);
    const { relay, done, metrics } = startRelay(dead, broker);
    relay.end();
    expect(await done).toBe(true);
    dead.release();
    expect(broker.watermarks.at(-1)).toEqual({ spoolId: spool.spoolId, accepted: 4 });
    expect(broker.keys).toEqual([1, 3, 4].map((sequence) => `${spool.spoolId}.${sequence}`));
    expect(await counterValue(metrics.spoolDamaged)).toBe(1);
  });
});
