import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { uuidV7 } from '../../common/uuid.ts';
import { keepDamagedSegment } from '../../producer/damaged-segments.ts';
import { adoptSpool } from '../../producer/dead-spools.ts';
import { Spool } from '../../producer/spool.ts';
import { listSegments } from '../../producer/spool-format.ts';
import { silent } from '../support/loggers.ts';
import { counterValue } from '../support/redirect-fixture.ts';
import { FakeBroker, startTestRelays } from '../support/relay-fixture.ts';
import { append, openSpool, ROOMY } from '../support/spool-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

/** Creates an abandoned spool, damages its first segment and lets the relays of an ad server relay it. */
async function relayDamaged(clicks: readonly string[], damage: (segment: string) => void) {
  const root = temporaryFolder();
  const dead = new Spool({ ...ROOMY, root }, silent);
  await append(dead, clicks);
  dead.close();
  const segment = listSegments(dead.folder)[0]?.path ?? '';
  damage(segment);
  const damaged = readFileSync(segment);
  const broker = new FakeBroker();
  const metrics = createMetrics();
  const relays = startTestRelays({ spool: openSpool({ root }), publisher: broker, metrics });
  await until('the dead spool to be relayed', () => !existsSync(dead.folder));
  await relays.close();
  const damagedFolder = join(root, 'quarantine');
  const kept = existsSync(damagedFolder) ? readdirSync(damagedFolder) : [];
  return { broker, metrics, kept: kept.map((name) => readFileSync(join(damagedFolder, name))), damaged };
}

it.each([
  ['zeros', Buffer.alloc(5_000)],
  ['half a click', Buffer.from('\0\0\0\x63half a click', 'latin1')],
])('a tail of %s is counted, and its segment is kept', async (_, tail) => {
  const { broker, metrics, kept, damaged } = await relayDamaged(['a', 'b'], (path) =>
    appendFileSync(path, tail),
  );
  expect(broker.clicks).toEqual(['a', 'b']);
  expect(await counterValue(metrics.spoolTornBytes)).toBe(tail.length);
  expect(kept).toEqual([damaged]);
});

it('a segment with a damaged click is kept unchanged', async () => {
  const { broker, metrics, kept, damaged } = await relayDamaged(['first', 'second', 'third'], (path) => {
    const bytes = readFileSync(path);
    bytes.write('X', bytes.indexOf('second'));
    writeFileSync(path, bytes);
  });
  expect(broker.clicks).toEqual(['first', 'third']);
  expect(await counterValue(metrics.spoolDamaged)).toBe(1);
  expect(kept).toEqual([damaged]);
});

it('an undamaged segment is deleted', async () => {
  const { metrics, kept } = await relayDamaged(['a'], () => {});
  expect(kept).toEqual([]);
  expect(await counterValue(metrics.spoolTornBytes)).toBe(0);
});

it('the quarantine is bounded: the oldest segments are deleted first', () => {
  const root = temporaryFolder();
  const paths = Array.from({ length: 4 }, (_, index) => {
    const folder = join(root, uuidV7(1_800_000_000_000 + index));
    mkdirSync(folder);
    const path = join(folder, '0000000000000001.segment');
    writeFileSync(path, 'x'.repeat(100));
    keepDamagedSegment({ path, firstSequence: 1 }, 250);
    return path;
  });
  const names = paths.map((path) => `${basename(dirname(path))}.${basename(path)}`);
  expect(readdirSync(join(root, 'quarantine')).sort()).toEqual(names.slice(2));
});

it('a dead spool with only an incomplete click is adopted with its segment marked as torn', async () => {
  const root = temporaryFolder();
  const folder = join(root, uuidV7());
  mkdirSync(folder);
  writeFileSync(join(folder, '0000000000000001.segment'), 'TOLLWAY SPOOL 1\n\0\0\0\x05abc');
  const dead = await adoptSpool(folder);
  expect(dead).toMatchObject({ accepted: 0, tornBytes: 7, tornSegment: 1 });
  dead?.release();
});
