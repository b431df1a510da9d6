import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startOpenwhisk } from '../../emulators/openwhisk/runtime.ts';
import { expectBalanced } from '../support/charge-batch.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { TestSpool } from '../support/records.ts';
import { builtFunctions } from './bundles.ts';

const root = builtFunctions();
const database = testDatabase();

it('connects as another database user as soon as its package parameters change, cold or warm', async () => {
  const { ad } = await addAccount(database.pool);
  const spool = new TestSpool();
  const action = await startOpenwhisk({ zip: join(root, 'openwhisk.zip') });
  const wrong = new URL(database.url);
  wrong.pathname = '/nowhere';
  const charge = (url: string, timeoutMs: number) => {
    const { key, value } = spool.click({ ad });
    const message = { topic: 't', partition: 0, offset: spool.accepted, key, value: String(value) };
    return action.run({ messages: [message], DATABASE_URL: url }, { timeoutMs });
  };
  try {
    const refused = await charge(wrong.href, 2_500);
    expect(refused.ok).toBe(false);
    expect(JSON.stringify(refused)).toContain('database \\"nowhere\\" does not exist');
    expect(await charge(database.url, 20_000)).toMatchObject({ ok: true, result: { settled: 1 } });
    expect(await charge('', 20_000)).toMatchObject({ ok: false });
    expect(await charge(database.url, 20_000)).toMatchObject({ ok: true, result: { settled: 1 } });
  } finally {
    await action.stop();
  }
  expect(await expectBalanced(database.pool)).toMatchObject({ charged: 2 });
});
