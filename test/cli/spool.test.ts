import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { encodePosition, RELAYED_NAME } from '../../producer/relay-position.ts';
import { Spool } from '../../producer/spool.ts';
import { listSegments } from '../../producer/spool-format.ts';
import { chargeBatch } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { silent } from '../support/loggers.ts';
import { TestSpool } from '../support/records.ts';
import { tollwayHere } from '../support/run-here.ts';
import { append, ROOMY } from '../support/spool-fixture.ts';
import { suiteFolder } from '../support/temporary-folder.ts';

/** `tollway spool correct` and `corrections`: what they print, and the trace that they leave; and what `drain` prints. */

const database = testDatabase();
const folder = suiteFolder();

const run = (...args: string[]) => {
  const { KAFKA_BROKERS: _, BROKER: __, ...inherited } = process.env;
  return tollwayHere({ ...inherited, DATABASE_URL: database.url, DATA_DIR: folder }, 'spool', ...args);
};

it('Corrections are listed with what they changed, who made them and why, the latest of them oldest first', async () => {
  expect(await run('corrections')).toMatchObject({ code: 0, stdout: 'There are no corrections.\n' });
  const { ad } = await addAccount(database.pool);
  const spoolId = new TestSpool();
  await chargeBatch(database.pool, [spoolId.click({ ad }), spoolId.watermark()]);
  const correct = (accepted: number, ...more: string[]) =>
    run('correct', spoolId.id.toUpperCase(), '--accepted', String(accepted), ...more);
  expect(await correct(5)).toMatchObject({ code: 1, stderr: expect.stringContaining('--reason') });
  expect(await correct(5, '--reason', 'a lost disk')).toMatchObject({
    code: 0,
    stdout: `${spoolId.id}: 5 clicks accepted, before 1\n`,
  });
  await correct(3, '--reason', 'counted again');
  expect(await correct(1, '--reason', 'found', '--json')).toMatchObject({ code: 0 });
  const { stdout } = await run('corrections', '--limit', '2', '--json');
  const {
    rows: [role],
  } = await database.pool.query<{ name: string }>('select current_user as name');
  const row = (before: string, after: string, reason: string) => ({
    id: expect.stringMatching(/^\d+$/),
    spool: spoolId.id,
    before,
    after,
    by: role?.name,
    at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    reason,
  });
  expect(JSON.parse(stdout)).toEqual([row('5', '3', 'counted again'), row('3', '1', 'found')]);
  expect((await run('corrections')).stdout).toMatch(/a lost disk\n.*counted again\n.*found\n$/);
  expect(await reconcile(database.pool, { brokers: [] })).toMatchObject({
    accepted: 1,
    missing: 0,
    balanced: true,
  });
});

/** Leaves a spool without an owner below `root`, of which an earlier relay has published some clicks. */
async function leaveSpool(root: string, clicks: readonly string[], relayed: number): Promise<Spool> {
  const spool = new Spool({ ...ROOMY, root }, silent);
  await append(spool, clicks);
  spool.close();
  if (relayed > 0) writeFileSync(join(spool.folder, RELAYED_NAME), encodePosition(relayed));
  return spool;
}

it('A drain prints what it has published itself and what could not be read back, for each spool', async () => {
  const root = join(folder, 'rescued');
  const half = await leaveSpool(root, ['a', 'b', 'c', 'd', 'e'], 3);
  const done = await leaveSpool(root, ['a', 'b'], 2);
  const damaged = await leaveSpool(root, ['first', 'second', 'third'], 0);
  const [segment] = listSegments(damaged.folder);
  const path = segment?.path ?? '';
  const bytes = readFileSync(path);
  bytes[bytes.indexOf('second')] = 0;
  writeFileSync(path, bytes);
  const { code, stdout } = await run('drain', root);
  expect(code).toBe(0);
  expect(stdout.trimEnd().split('\n').sort()).toEqual(
    [
      `${half.spoolId}: published 2 clicks`,
      `${done.spoolId}: published 0 clicks`,
      `${damaged.spoolId}: published 2 clicks; 1 click could not be read back`,
    ].sort(),
  );
  const again = await leaveSpool(root, ['a', 'b', 'c'], 2);
  expect(JSON.parse((await run('drain', root, '--json')).stdout)).toEqual([
    { spoolId: again.spoolId, clicks: 1, damaged: 0 },
  ]);
});

it('A drain whose watermarks are not taken publishes the clicks of all spools, and says so', async () => {
  const root = join(folder, 'no-watermarks');
  const spools = [await leaveSpool(root, ['a', 'b'], 0), await leaveSpool(root, ['c'], 0)];
  await database.pool.query(`
    create function refuse_watermark() returns trigger language plpgsql as
      $$ begin raise 'This partition has no leader'; end $$;
    create trigger refuse_watermark before insert on broker_chunk for each row
      when (encode(new.payload, 'escape') like '%watermark%') execute function refuse_watermark()`);
  const { code, stdout, stderr } = await run('drain', root);
  expect(code).toBe(1);
  const [first = '', second = ''] = spools.map(({ spoolId }) => spoolId).sort();
  expect(stdout.trimEnd().split('\n').sort()).toEqual(
    spools
      .map(({ spoolId, accepted }) => `${spoolId}: published ${accepted} click${accepted === 1 ? '' : 's'}`)
      .sort(),
  );
  expect(stderr).toContain(`got none of ${first}, ${second}: their clicks are published`);
  await database.pool.query('drop trigger refuse_watermark on broker_chunk');
  expect(await run('drain', root)).toMatchObject({ code: 0 });
  expect(existsSync(spools[0]?.folder ?? '')).toBe(false);
});
