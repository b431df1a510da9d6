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
import { FakeBroker } from '../support/relay-fixture.ts';
import { append, openSpool, ROOMY } from '../support/spool-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

it('an ad server relays its own spool and those of processes that have ended', async () => {
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
  expect(relays.oldestClickAgeMs()).toBe(0);
  alive.close();
  await until('the one that was alive to be relayed', () => broker.clicks.includes('alive'));
  await relays.close();
  expect(existsSync(spool.folder)).toBe(false);
  expect(existsSync(unreadable)).toBe(true);
  expect(failures).toEqual([]);
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
  const spools = adoptDeadSpools(root, unwanted);
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
