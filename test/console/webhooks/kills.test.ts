import { once } from 'node:events';
import { expect, it, onTestFinished } from 'vitest';
import { freePorts } from '../../../emulators/process/free-ports.ts';
import { addAdvertiser } from '../../../ledger/accounts/advertisers.ts';
import { addWebhook } from '../../../ledger/webhooks/webhooks.ts';
import { testDatabase } from '../../support/database.ts';
import { runScript } from '../../support/run-script.ts';
import { suiteFolder } from '../../support/temporary-folder.ts';
import { until } from '../../support/until.ts';
import { emitNumber, numbersOf, testConsole, testReceiver } from '../../support/webhooks-fixture.ts';

const database = testDatabase();
const folder = suiteFolder();
const KILLS = 20;
const ADVERTISERS = 6;
/** Events of each advertiser before each kill. */
const EVENTS = 4;

/** Starts the console as a process of its own. */
async function startConsole() {
  const [port, opsPort] = await freePorts(2);
  const child = runScript('console/main.ts', {
    PATH: process.env.PATH,
    DATABASE_URL: database.url,
    DATA_DIR: folder,
    CONSOLE_PORT: String(port),
    CONSOLE_OPS_PORT: String(opsPort),
    WEBHOOK_PRIVATE_TARGETS: 'on',
    LOG_LEVEL: 'fatal',
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  child.stderr?.pipe(process.stderr);
  return {
    kill: async () => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}

const pending = async () => {
  const { rows } = await database.pool.query<{ count: bigint }>(
    "select count(*) from webhook_delivery where status = 'pending'",
  );
  return Number(rows[0]?.count);
};

it(`${KILLS} kills of the console lose no event and keep the order`, async () => {
  // Answers late, so that most kills hit attempts in progress.
  const receiver = await testReceiver((response) => void setTimeout(() => response.writeHead(200).end(), 15));
  await addWebhook(database.pool, { url: receiver.url }, 'private');
  const advertisers = await Promise.all(
    Array.from({ length: ADVERTISERS }, () => addAdvertiser(database.pool, 'one', 'USD')),
  );
  for (let kill = 0; kill < KILLS; kill += 1) {
    for (let event = 0; event < EVENTS; event += 1)
      for (const { id } of advertisers)
        await emitNumber(database.pool, id, id * 1_000 + kill * EVENTS + event);
    const before = receiver.received.length;
    const running = await startConsole();
    const goal = before + 1 + Math.floor(Math.random() * ADVERTISERS * EVENTS);
    await until('some events', async () => receiver.received.length >= goal || (await pending()) === 0);
    await running.kill();
    // The lease of the dead process would end by itself, after 15 s.
    await database.pool.query("update webhook_progress set leased_until = '-infinity'");
  }
  const running = await startConsole();
  await until('the end of all deliveries', async () => (await pending()) === 0, 60_000);
  await running.kill();
  const numbers = numbersOf(receiver).map(Number);
  for (const { id } of advertisers) {
    const firsts = [...new Set(numbers.filter((number) => Math.floor(number / 1_000) === id))];
    expect(firsts).toEqual(Array.from({ length: KILLS * EVENTS }, (_, index) => id * 1_000 + index));
  }
  const duplicates = receiver.received.length - ADVERTISERS * EVENTS * KILLS;
  // Each kill can repeat the attempts that were in progress.
  expect(duplicates).toBeLessThanOrEqual(4 * KILLS);
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(ADVERTISERS * EVENTS * KILLS);
}, 300_000);

it('another console takes over when the lease of a killed one has ended', async () => {
  const receiver = await testReceiver(() => {});
  await addWebhook(database.pool, { url: receiver.url }, 'private');
  const killed = await startConsole();
  await emitNumber(database.pool, null, 1);
  await until('a request', () => receiver.received.length === 1);
  await killed.kill();
  const killedAt = performance.now();
  receiver.answer = (response) => void response.writeHead(200).end();
  testConsole(database);
  const again = await until('the event again', () => receiver.received[1], 30_000);
  expect(again.at - killedAt).toBeLessThan(20_000);
  expect(again.id).toBe(receiver.received[0]?.id);
}, 60_000);
