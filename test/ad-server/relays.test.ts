import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startRelays } from '../../ad-server/relays.ts';
import { parseConfig } from '../../common/config/config.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { adoptDeadSpools } from '../../producer/dead-spools.ts';
import { Spool } from '../../producer/spool.ts';
import { silent } from '../support/loggers.ts';
import { FakeBroker } from '../support/relay-bench.ts';
import { append, openSpool, ROOMY } from '../support/spool-bench.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

it('A running ad server relays the spools that others leave behind, and its own', async () => {
  const root = temporaryFolder();
  const spool = openSpool({ root });
  const broker = new FakeBroker();
  const failures: unknown[] = [];
  const relays = startRelays(parseConfig({ RELAY_LINGER_MS: '0' }), {
    root,
    spool,
    publisher: broker,
    metrics: createMetrics(),
    logger: silent,
    fail: (error) => failures.push(error),
    adoptMs: 20,
  });
  await append(spool, ['own']);
  // One whose owner lives is left alone, and one that cannot be read keeps no other from being adopted.
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
  expect(relays.oldestClickAgeMs()).toBe(0);
  alive.close();
  await until('the one that was alive to be relayed', () => broker.clicks.includes('alive'));
  await relays.close();
  expect(existsSync(spool.folder)).toBe(false);
  expect(existsSync(unreadable)).toBe(true);
  expect(failures).toEqual([]);
});

it('Looking at 64 spools that others own or left behind never takes long at once', async () => {
  const root = temporaryFolder();
  const owned = Array.from({ length: 64 }, () => openSpool({ root }));
  // Several windows of the scan.
  const dead = new Spool({ ...ROOMY, root, segmentBytes: 100_000_000 }, silent);
  for (let count = 0; count < 40; count += 1) await append(dead, Array(50).fill('x'.repeat(500)));
  dead.close();
  let turns = 0;
  const unwanted = () => {
    throw new Error('A spool cannot be read');
  };
  const spools = adoptDeadSpools(root, unwanted);
  // Between two steps of the search the loop gets its turn: count how many turns it had.
  const tick = () => {
    turns += 1;
    immediate = setImmediate(tick);
  };
  let immediate = setImmediate(tick);
  for await (const found of spools) found.release();
  clearImmediate(immediate);
  // One for each spool, and one for each window of the dead one.
  expect(turns).toBeGreaterThanOrEqual(owned.length + 3);
});
