import { expect, it } from 'vitest';
import { Spool } from '../../producer/spool.ts';
import { capturedLog } from '../support/loggers.ts';
import { append, clickText, ROOMY } from '../support/spool-fixture.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

it('a full spool logs one failure and one recovery, however often it changes between them', async () => {
  const { logger, lines } = capturedLog();
  const spool = new Spool({ ...ROOMY, bytesMax: 2_000, root: temporaryFolder() }, logger);
  for (let round = 0; round < 3; round += 1) {
    for (let refused = 0; refused < 5; ) {
      const [sequence] = await append(spool, [clickText(round)]);
      if (sequence === null) refused += 1;
    }
    // As if the relay had deleted all segments.
    spool.bytes = 0;
    expect((await append(spool, [clickText(round)]))[0]).not.toBeNull();
  }
  spool.close();
  expect(lines).toEqual([
    'error The spool accepts no clicks: they are not recorded. Visitors are redirected without a charge, or get 503 (SPOOL_FULL=refuse). Check the disk and the broker',
    'error The spool accepts clicks again',
  ]);
});

it('a failing answer logs whether its click was recorded', () => {
  const { logger, lines } = capturedLog();
  const spool = new Spool({ ...ROOMY, bytesMax: 2_000, root: temporaryFolder() }, logger);
  const fail = () => {
    throw new Error('The response cannot be sent');
  };
  for (const click of [clickText(1), 'x'.repeat(3_000)]) spool.append(click, fail);
  spool.close();
  const told = lines.filter((line) => line.startsWith('error A click'));
  expect(told).toEqual([
    'error A click was recorded, but its redirect could not be sent',
    'error A click was not recorded, and its answer could not be sent',
  ]);
});
