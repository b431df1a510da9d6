import fs, { appendFileSync, existsSync, mkdirSync, renameSync, utimesSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { adoptDeadSpools } from '../../producer/dead-spools.ts';
import { Spool } from '../../producer/spool.ts';
import { LOCK_NAME } from '../../producer/spool-folder.ts';
import { listSegments } from '../../producer/spool-format.ts';
import { capturedLog, silent } from '../support/loggers.ts';
import { FakeBroker, startTestRelays } from '../support/relay-fixture.ts';
import { append, bytesOnDisk, clickText, openSpool, ROOMY } from '../support/spool-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

afterEach(() => {
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

it('an ad server relays its own spool and those of processes that have ended', async () => {
  const root = temporaryFolder();
  const spool = openSpool({ root });
  const broker = new FakeBroker();
  const failures: unknown[] = [];
  const relays = startTestRelays({ spool, publisher: broker, fail: (error) => failures.push(error) });
  await append(spool, ['own']);
  // A spool in use is not adopted, and a spool that cannot be read does not prevent the adoption of others.
  const alive = new Spool({ ...ROOMY, root }, silent);
  await append(alive, ['alive']);
  const unreadable = join(root, uuidV7());
  mkdirSync(join(unreadable, `${'1'.padStart(16, '0')}.segment`), { recursive: true });
  for (const name of ['first', 'second']) {
    const dead = new Spool({ ...ROOMY, root }, silent);
    await append(dead, [name]);
    dead.close();
    await until(`the ${name} to be relayed and removed`, () => !existsSync(dead.folder));
  }
  expect([...broker.clicks].sort()).toEqual(['first', 'own', 'second']);
  alive.close();
  await until('the one that was alive to be relayed', () => broker.clicks.includes('alive'));
  expect(relays.problems()).toEqual([]);
  await relays.close();
  expect(existsSync(spool.folder)).toBe(false);
  expect(existsSync(unreadable)).toBe(true);
  expect(failures).toEqual([]);
});

describe('an ad server whose spool folder is moved away', () => {
  const startMoved = async (clicks: readonly string[]) => {
    const root = temporaryFolder();
    const spool = openSpool({ root });
    const broker = new FakeBroker();
    const failures: unknown[] = [];
    const relays = startTestRelays({ spool, publisher: broker, fail: (error) => failures.push(error) });
    for (const click of clicks) await append(spool, [click]);
    await until('the clicks to be published', () => broker.clicks.length === clicks.length);
    const elsewhere = join(temporaryFolder(), spool.spoolId);
    renameSync(spool.folder, elsewhere);
    const moveBack = () => renameSync(elsewhere, spool.folder);
    const gone = [{ code: 'bad_data_dir', message: expect.stringContaining(`${spool.folder} is gone`) }];
    return { root, spool, relays, failures, gone, moveBack };
  };

  it('ends and says so, and the next one publishes its clicks when it is back', async () => {
    const { root, spool, relays, failures, gone, moveBack } = await startMoved(['before']);
    await append(spool, ['after']);
    await until('the failure', () => failures.length > 0);
    expect(failures).toMatchObject(gone);
    await relays.close();
    moveBack();
    const broker = new FakeBroker();
    const next = startTestRelays({ spool: openSpool({ root }), publisher: broker });
    await until('the click to be published', () => broker.clicks.includes('after'));
    await next.close();
  });

  it.each([[[]], [['before']]])('ends without another click too, after %j', async (clicks) => {
    const { relays, failures, gone } = await startMoved(clicks);
    await relays.measureSpools();
    expect(failures).toMatchObject(gone);
    await relays.close();
  });

  it('is no failure of an ad server that ends and removes the folder', async () => {
    const failures: unknown[] = [];
    const spool = openSpool({ root: temporaryFolder() });
    const relays = startTestRelays({
      spool,
      publisher: new FakeBroker(),
      fail: (error) => failures.push(error),
    });
    await append(spool, ['one']);
    const closing = relays.close();
    await until('the folder to be removed', () => {
      void relays.measureSpools();
      return !existsSync(spool.folder);
    });
    await relays.measureSpools();
    await closing;
    expect(failures).toEqual([]);
  });
});

describe.each(['read', 'relayed'])('a spool of an ended process that cannot be %s', (how) => {
  it.each([1, 4])('shows in the warnings, the bytes and the age of each of %i workers', async (workers) => {
    const root = temporaryFolder();
    const dead = new Spool({ ...ROOMY, root, segmentBytes: 1 }, silent);
    await append(dead, ['waits']);
    await append(dead, ['waits too']);
    dead.close();
    const bytes = bytesOnDisk(dead.folder);
    const [first] = listSegments(dead.folder);
    const hourAgo = Date.now() / 1_000 - 3_600;
    utimesSync(first?.path ?? '', hourAgo, hourAgo);
    // A bad sector in the last segment, which the adoption scans, or in the first one, which only the relay reads.
    const { readSync } = fs;
    const bad = how === 'read' ? 'waits too' : 'waits';
    const read = vi.spyOn(fs, 'readSync').mockImplementation(((
      file: number,
      bytes: Buffer,
      ...rest: number[]
    ) => {
      const count = (readSync as (...args: unknown[]) => number)(file, bytes, ...rest);
      if (bytes.subarray(0, count).toString('latin1').endsWith(bad))
        throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
      return count;
    }) as typeof fs.readSync);
    syncBuiltinESMExports();
    const spool = openSpool({ root });
    const broker = new FakeBroker();
    const relays = startTestRelays({ env: { AD_SERVER_WORKERS: `${workers}` }, spool, publisher: broker });
    await until('a warning', () => relays.blockedSpools().length > 0);
    expect(relays.blockedSpools()).toEqual([
      { what: 'spool', reason: `${dead.folder} cannot be relayed: EIO: i/o error, read`, forMs: 0 },
    ]);
    await relays.measureSpools();
    // In whole bytes.
    expect(relays.shareOfBytes()).toBe(Math.round(bytes / workers));
    expect(relays.oldestClickAgeMs()).toBeGreaterThanOrEqual(3_600_000);
    expect(spool.othersBytes, 'towards the limit').toBe(0);
    expect(relays.problems(), 'of the broker').toEqual([]);
    read.mockRestore();
    syncBuiltinESMExports();
    await until('both clicks to be relayed', () => broker.clicks.length === 2);
    await until('the warning to be gone', () => relays.blockedSpools().length === 0);
    await until('no click to wait', () => relays.oldestClickAgeMs() === 0);
    await relays.measureSpools();
    expect(relays.shareOfBytes()).toBe(0);
    await relays.close();
  });
});

it('all spools of ended processes and of other workers count towards the limit, before they are adopted too', async () => {
  const root = temporaryFolder();
  const others = Array.from({ length: 3 }, () => new Spool({ ...ROOMY, root }, silent));
  for (const other of others) await append(other, [clickText(1, 8_000), clickText(2, 8_000)]);
  const [inUse, ...dead] = others;
  for (const other of dead) other.close();
  const spool = openSpool({ root, bytesMax: 65_536 });
  const broker = new FakeBroker();
  broker.before = () => {
    throw new Error('The broker is unavailable');
  };
  const relays = startTestRelays({ env: { AD_SERVER_WORKERS: '2' }, spool, publisher: broker });
  await relays.measureSpools();
  // The relay is busy with the first of them.
  expect(await append(spool, [clickText(1, 8_000), clickText(2, 8_000), clickText(3, 8_000)])).toEqual([
    1,
    2,
    null,
  ]);
  expect(spool.problem).toBe('The spools are full: 65536 bytes');
  await relays.measureSpools();
  const total = [spool, ...others].reduce((sum, { folder }) => sum + bytesOnDisk(folder), 0);
  expect(relays.shareOfBytes()).toBe(Math.round(total / 2));
  broker.before = () => {};
  await until('the dead ones to be relayed', () => dead.every(({ folder }) => !existsSync(folder)));
  await relays.measureSpools();
  expect(spool.othersBytes).toBe(bytesOnDisk(inUse?.folder ?? ''));
  expect(await append(spool, [clickText(4, 8_000)])).toEqual([3]);
  inUse?.close();
  await relays.close();
});

it('a spool whose last watermark is not taken does not keep those behind it from being relayed', async () => {
  const root = temporaryFolder();
  const dead = [new Spool({ ...ROOMY, root }, silent), new Spool({ ...ROOMY, root }, silent)];
  for (const [index, spool] of dead.entries()) {
    await append(spool, [`of spool ${index}`]);
    spool.close();
  }
  const spool = openSpool({ root });
  const broker = new FakeBroker();
  const { publishEverywhere } = broker;
  broker.publishEverywhere = async () => {
    throw new Error('Partition 3 has no leader');
  };
  const { logger, lines } = capturedLog();
  const relays = startTestRelays({ spool, publisher: broker, logger });
  await until('the clicks of both', () => broker.clicks.length === 2);
  expect(dead.map(({ folder }) => existsSync(folder))).toEqual([true, true]);
  broker.publishEverywhere = publishEverywhere;
  await until('both to be removed', () => dead.every(({ folder }) => !existsSync(folder)));
  expect(broker.clicks).toEqual(['of spool 0', 'of spool 1']);
  await relays.close();
  // The relays share the log: one line for all of them.
  expect(lines.filter((line) => line.includes('The broker takes no watermark'))).toHaveLength(1);
});

it('a stop does not wait for a watermark that is not taken', async () => {
  const spool = openSpool();
  const broker = new FakeBroker();
  const relays = startTestRelays({ spool, publisher: broker });
  broker.publishEverywhere = async () => {
    throw new Error('Partition 3 has no leader');
  };
  await append(spool, ['a']);
  await until('the click', () => broker.clicks.length === 1);
  const startedAt = performance.now();
  await relays.close();
  // npm start kills an ad server after 4.5 s.
  expect(performance.now() - startedAt).toBeLessThan(4_000);
  expect(existsSync(spool.folder)).toBe(true);
});

/** Makes every attempt to lock a spool fail. `message` begins with the code of the error. Returns how to end that. */
function failToLock({ folder }: Spool, message: string): () => void {
  const { statSync } = fs;
  const mock = vi.spyOn(fs, 'statSync').mockImplementation(((path: string, ...rest: unknown[]) => {
    if (path === join(folder, LOCK_NAME))
      throw Object.assign(new Error(message), { code: message.split(':')[0] });
    return (statSync as (...args: unknown[]) => unknown)(path, ...rest);
  }) as typeof fs.statSync);
  syncBuiltinESMExports();
  return () => {
    mock.mockRestore();
    syncBuiltinESMExports();
  };
}

it('a spool is no warning while another process has its lock, also if it could not be locked before', async () => {
  const root = temporaryFolder();
  const other = new Spool({ ...ROOMY, root }, silent);
  await append(other, ['a']);
  const repair = failToLock(other, 'EIO: i/o error, stat');
  const spool = openSpool({ root });
  const broker = new FakeBroker();
  const relays = startTestRelays({ spool, publisher: broker });
  await until('a warning', () => relays.blockedSpools().length > 0);
  repair();
  await until(
    'no warning, and no age',
    () => relays.blockedSpools().length + relays.oldestClickAgeMs() === 0,
  );
  await relays.measureSpools();
  expect(spool.othersBytes, 'towards the limit').toBe(bytesOnDisk(other.folder));
  other.close();
  await until('the click', () => broker.clicks.length === 1);
  await relays.close();
});

it('a lack of file descriptors says nothing about a spool in use, whose incomplete bytes count when it has died', async () => {
  const root = temporaryFolder();
  const other = new Spool({ ...ROOMY, root }, silent);
  await append(other, ['whole']);
  const repair = failToLock(other, 'EMFILE: too many open files');
  const metrics = createMetrics();
  const broker = new FakeBroker();
  const spool = openSpool({ root });
  const relays = startTestRelays({ spool, publisher: broker, metrics });
  await until('a warning', () => relays.blockedSpools().length > 0);
  expect(relays.blockedSpools()[0]?.reason).toBe(`${root} cannot be relayed: EMFILE: too many open files`);
  repair();
  await until(
    'no warning, and no age',
    () => relays.blockedSpools().length + relays.oldestClickAgeMs() === 0,
  );
  other.close();
  appendFileSync(listSegments(other.folder)[0]?.path ?? '', 'incomplete');
  await until('the click', () => broker.clicks.length === 1);
  expect((await metrics.spoolTornBytes.get()).values[0]?.value).toBe('incomplete'.length);
  await relays.close();
});

it('the search over 64 spools does not block the event loop', async () => {
  const root = temporaryFolder();
  const owned = Array.from({ length: 64 }, () => openSpool({ root }));
  // Large enough for several windows of the scan.
  const dead = new Spool({ ...ROOMY, root, segmentBytes: 100_000_000 }, silent);
  for (let count = 0; count < 40; count += 1) await append(dead, Array(50).fill('x'.repeat(500)));
  dead.close();
  let rounds = 0;
  const unwanted = () => {
    throw new Error('A spool cannot be read');
  };
  const spools = adoptDeadSpools(root, { onUnreadable: unwanted });
  // Counts the iterations of the event loop between the steps of the search.
  const tick = () => {
    rounds += 1;
    immediate = setImmediate(tick);
  };
  let immediate = setImmediate(tick);
  for await (const found of spools) found.release();
  clearImmediate(immediate);
  // One for each spool, and one for each window of the abandoned one.
  expect(rounds).toBeGreaterThanOrEqual(owned.length + 3);
});
