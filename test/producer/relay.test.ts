import fs, { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { encodePosition, readRelayed } from '../../producer/relay-position.ts';
import { listSegments, segmentPath } from '../../producer/spool-format.ts';
import { capturedLog } from '../support/loggers.ts';
import { counterValue } from '../support/redirect-fixture.ts';
import { FakeBroker, startRelay } from '../support/relay-fixture.ts';
import { append, bytesOnDisk, clickText, openSpool } from '../support/spool-fixture.ts';
import { until } from '../support/until.ts';

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

/** `count` different clicks. */
function clicksOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => clickText(index));
}

function outage(): never {
  throw Object.assign(new Error('The broker is unavailable'), { code: 'ECONNREFUSED' });
}

describe('a relay', () => {
  it('publishes every click in order, under its spool and sequence, in batches of bounded size', async () => {
    const spool = openSpool({ segmentBytes: 16_384 });
    const broker = new FakeBroker();
    const clicks = clicksOf(550);
    await append(spool, clicks);
    const { relay, done } = startRelay(spool, broker, { batchMax: 100 });
    relay.end();
    expect(await done).toBe(true);
    expect(broker.clicks).toEqual(clicks);
    expect(broker.keys).toEqual(clicks.map((_, index) => `${spool.spoolId}.${index + 1}`));
    for (const batch of broker.batches) expect(batch.length).toBeLessThanOrEqual(100);
  });

  it('publishes while the spool grows, after one notification for each click', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    // Only notifications wake it: its next watermark is a minute away.
    startRelay(spool, broker, { watermarkIntervalMs: 60_000 });
    for (let count = 1; count <= 20; count += 1) {
      await append(spool, [clickText(count)]);
      await until('the click to be published', () => broker.clicks.length === count);
    }
  });

  it('never has more than one batch in flight, however long its backlog is', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    broker.before = () => new Promise((resolve) => setImmediate(resolve));
    await append(spool, clicksOf(2_000));
    const { relay, done } = startRelay(spool, broker, { batchMax: 50 });
    relay.end();
    expect(await done).toBe(true);
    expect(broker.pendingMost).toBe(50);
  });

  it('publishes refused records again, and no others', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    let refusals = 0;
    broker.refuses = ({ key }) => {
      const refused = Number(key?.split('.')[1]) % 3 === 0 && refusals < 30;
      if (refused) refusals += 1;
      return refused;
    };
    const clicks = clicksOf(50);
    await append(spool, clicks);
    const { relay, done } = startRelay(spool, broker, { batchMax: 20 });
    relay.end();
    expect(await done).toBe(true);
    expect(refusals).toBe(30);
    expect([...broker.clicks].sort()).toEqual([...clicks].sort());
    expect(broker.watermarks.at(-1)?.accepted).toBe(50);
  });

  it('saves its position and deletes the segments before it', async () => {
    const spool = openSpool({ segmentBytes: 4_096 });
    const broker = new FakeBroker();
    startRelay(spool, broker, { batchMax: 7 });
    for (let count = 0; count < 20; count += 1) await append(spool, clicksOf(10));
    await until('all to be published', () => readRelayed(spool.folder) === 200);
    // Only the open segment is left.
    expect(listSegments(spool.folder).map(({ firstSequence }) => firstSequence)).toEqual(
      spool.openSegment === null ? [] : [spool.openSegment],
    );
    expect(spool.bytes).toBe(bytesOnDisk(spool.folder));
  });

  it('knows the age of the oldest unconfirmed click', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    broker.before = outage;
    const before = Date.now();
    await append(spool, clicksOf(1));
    const { relay } = startRelay(spool, broker);
    await until('an attempt', () => broker.attempts > 0);
    expect(relay.oldestClickAgeMs).toBeGreaterThanOrEqual(0);
    expect(relay.oldestClickAgeMs).toBeLessThanOrEqual(Date.now() - before + 2);
    broker.before = () => {};
    await until('the click to be published', () => broker.clicks.length === 1);
    await until('no click to be left', () => relay.oldestClickAgeMs === null);
  });
});

describe('a relay whose broker is unavailable', () => {
  it('retries the same batch, and loses, repeats and reorders nothing', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    let refusals = 6;
    broker.before = () => (refusals-- > 0 ? outage() : undefined);
    const clicks = clicksOf(30);
    await append(spool, clicks);
    const { logger, lines } = capturedLog();
    const { relay, done, metrics } = startRelay(spool, broker, { batchMax: 10 }, logger);
    relay.end();
    expect(await done).toBe(true);
    expect(broker.clicks).toEqual(clicks);
    expect(lines).toEqual([
      'warn The broker does not accept clicks. They wait in the spool',
      'warn The broker accepts clicks again',
    ]);
    expect(await counterValue(metrics.relayBatches, { result: 'failed' })).toBe(6);
  });

  it('has one batch in memory and the rest on disk, and never blocks the spool', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    broker.before = outage;
    const { relay, metrics } = startRelay(spool, broker, { batchMax: 20 });
    for (let count = 0; count < 100; count += 1) {
      expect(await append(spool, clicksOf(20))).not.toContain(null);
    }
    await until('some attempts', () => broker.attempts >= 3);
    expect(broker.pendingMost).toBe(20);
    expect(readRelayed(spool.folder)).toBe(0);
    const { values } = await metrics.brokerUp.get();
    expect(values[0]?.value).toBe(0);
    broker.before = () => {};
    await until('all to be published', () => broker.clicks.length === 2_000);
    relay.notify();
  });

  it('publishes a batch again under the same keys if only the confirmation was lost', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    let losses = 2;
    broker.after = () => (losses-- > 0 ? outage() : undefined);
    await append(spool, clicksOf(3));
    const { relay, done } = startRelay(spool, broker, { watermarkIntervalMs: 60_000 });
    relay.end();
    expect(await done).toBe(true);
    const once = [1, 2, 3].map((sequence) => `${spool.spoolId}.${sequence}`);
    expect(broker.keys).toEqual([...once, ...once, ...once]);
  });

  it('can be aborted, and leaves its spool to the next relay', async () => {
    const spool = openSpool();
    const away = new FakeBroker();
    away.before = outage;
    await append(spool, clicksOf(5));
    const first = startRelay(spool, away);
    await until('an attempt', () => away.attempts > 0);
    first.relay.abort();
    expect(await first.done).toBe(false);
    expect(existsSync(spool.folder)).toBe(true);

    const broker = new FakeBroker();
    const second = startRelay(spool, broker);
    second.relay.end();
    expect(await second.done).toBe(true);
    expect(broker.clicks).toHaveLength(5);
  });
});

describe('a relay that continues after another one died', () => {
  it('continues behind the saved position, in the middle of a segment', async () => {
    const spool = openSpool();
    await append(spool, clicksOf(30));
    writeFileSync(join(spool.folder, 'relayed'), encodePosition(17));
    const broker = new FakeBroker();
    const { relay, done } = startRelay(spool, broker);
    relay.end();
    expect(await done).toBe(true);
    expect(broker.keys.at(0)).toBe(`${spool.spoolId}.18`);
    expect(broker.keys).toHaveLength(13);
    expect(broker.watermarks.at(-1)?.accepted).toBe(30);
  });

  it('publishes again, under the same keys, the clicks behind the saved position', async () => {
    const spool = openSpool();
    const broker = new FakeBroker();
    const clicks = clicksOf(20);
    await append(spool, clicks);
    // The broker accepts the second batch, but its confirmation is lost.
    let batches = 0;
    let die = () => {};
    const death = new Promise<void>((_, reject) => {
      die = () => reject(new Error('Its process has ended'));
    });
    broker.after = () => (++batches === 2 ? death : undefined);
    const first = startRelay(spool, broker, { batchMax: 10, watermarkIntervalMs: 60_000 });
    await until('the second batch to be taken', () => batches === 2);
    const position = readFileSync(join(spool.folder, 'relayed'), 'latin1');
    expect(position).toBe(encodePosition(10));
    first.relay.abort();
    die();
    expect(await first.done).toBe(false);

    const next = new FakeBroker();
    const second = startRelay(spool, next);
    second.relay.end();
    expect(await second.done).toBe(true);
    expect(next.keys).toEqual(broker.keys.slice(10));
    expect(next.clicks).toEqual(clicks.slice(10));
  });

  it.each([
    '',
    '0000000000000005',
    '0000000000000005\n',
    encodePosition(5).replace('5', '6'),
    encodePosition(10),
    'garbage\n',
    '\0'.repeat(26),
  ])(
    'begins at the first click if the position is damaged or beyond the clicks on disk: %j',
    async (text) => {
      const spool = openSpool();
      await append(spool, clicksOf(9));
      writeFileSync(join(spool.folder, 'relayed'), text);
      const broker = new FakeBroker();
      const { relay, done } = startRelay(spool, broker);
      relay.end();
      expect(await done).toBe(true);
      expect(broker.clicks).toHaveLength(9);
    },
  );
});

describe('a relay whose position is older than the segments that it deleted, as after a loss of power', () => {
  it('begins at the first segment, and reports no damage', async () => {
    const spool = openSpool();
    await append(spool, clicksOf(9));
    spool.roll();
    await append(spool, ['after']);
    rmSync(segmentPath(spool.folder, 1));
    writeFileSync(join(spool.folder, 'relayed'), encodePosition(4));
    const broker = new FakeBroker();
    const { lines, logger } = capturedLog();
    const { relay, done, metrics } = startRelay(spool, broker, {}, logger);
    relay.end();
    expect(await done).toBe(true);
    expect(broker.keys).toEqual([`${spool.spoolId}.10`]);
    expect(broker.watermarks.at(-1)?.accepted).toBe(10);
    expect(await counterValue(metrics.spoolDamaged)).toBe(0);
    expect(lines).toEqual([
      'warn The saved position of the relay is older than the first segment on disk, as after a loss of power. The relay begins at that segment: it deletes segments only after it has published them. If clicks were lost with a segment instead, reconcile reports them as missing',
    ]);
  });
});

describe('a relay that lacks file descriptors or memory', () => {
  /** Makes a call of the file system fail `times` times. Returns how many failures are left. */
  const failing = (
    call: 'readdirSync' | 'openSync' | 'readSync' | 'statSync',
    code: string,
    times: number,
  ) => {
    const left = { times };
    const original = fs[call] as (...args: unknown[]) => unknown;
    vi.spyOn(fs, call as 'openSync').mockImplementation(((...args: unknown[]) => {
      // The position of the relay is read before it runs.
      if (left.times > 0 && !String(args[0]).endsWith('relayed')) {
        left.times -= 1;
        throw Object.assign(new Error(`${code}: ${call}`), { code });
      }
      return original(...args);
    }) as typeof fs.openSync);
    syncBuiltinESMExports();
    return left;
  };

  it.each([
    ['readdirSync', 'EMFILE'],
    ['openSync', 'ENFILE'],
    ['readSync', 'ENOMEM'],
    ['statSync', 'EMFILE'],
  ] as const)('waits and retries when %s throws %s', async (call, code) => {
    const spool = openSpool({ segmentBytes: 4_096 });
    const clicks = clicksOf(30);
    for (const click of clicks) await append(spool, [click]);
    const left = failing(call, code, 2);
    const broker = new FakeBroker();
    const { relay, done } = startRelay(spool, broker);
    relay.end();
    expect(await done).toBe(true);
    expect(left.times).toBe(0);
    expect([...new Set(broker.clicks)]).toEqual(clicks);
  });

  it('fails on other errors, so that a broken disk is noticed', async () => {
    const spool = openSpool();
    await append(spool, clicksOf(1));
    failing('readdirSync', 'EIO', 1);
    const { done } = startRelay(spool, new FakeBroker());
    await expect(done).rejects.toThrow('EIO');
  });
});
