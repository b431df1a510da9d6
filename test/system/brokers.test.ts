import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createPostgresPublisher } from '../../brokers/postgres/publisher.ts';
import { createPool } from '../../common/postgres/postgres.ts';
import { kafkaIsMissing, startKafka } from '../../emulators/kafka/start.ts';
import { startKinesis } from '../../emulators/kinesis/start.ts';
import { clickLink, exportRows, makeLinks } from '../support/clicks.ts';
import { clickRecord } from '../support/records.ts';
import { runToEnd, tollway } from '../support/run-script.ts';
import { stackEnv, startStack, type TestStack } from '../support/stack.ts';
import { suiteFolder } from '../support/temporary-folder.ts';
import { until } from '../support/until.ts';

const missing = await kafkaIsMissing();
if (missing !== null && process.env.CI) throw new Error(missing);
if (missing !== null) process.stderr.write(`${missing}\n`);

/** Starts a server, and says with which settings it is used. */
const BROKERS = [
  {
    broker: 'kafka',
    skipped: missing !== null,
    start: async () => {
      const { brokers, stop } = await startKafka();
      const name = `start-${Date.now()}`;
      return { stop, env: { KAFKA_BROKERS: brokers, KAFKA_TOPIC: name, KAFKA_GROUP: name } };
    },
  },
  {
    broker: 'kinesis',
    skipped: false,
    start: async () => {
      const { endpoint, stop } = await startKinesis();
      const account = { AWS_REGION: 'eu-west-1', AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
      return { stop, env: { KINESIS_ENDPOINT: endpoint, ...account } };
    },
  },
];

describe.each(BROKERS)('BROKER=$broker npm start', ({ broker, skipped, start }) => {
  const folder = suiteFolder();
  let server: { stop: () => Promise<void>; env: Record<string, string | undefined> };
  let stack: TestStack;
  const settled = async () => (await stack.tollway('reconcile', '--settled', '--deep')).code === 0;

  beforeAll(async () => {
    if (skipped) return;
    server = await start();
  }, 120_000);
  afterAll(async () => {
    await stack?.stop();
    await server?.stop();
  });

  it.skipIf(skipped)('ends without its topic, and says how to make it', { timeout: 60_000 }, async () => {
    const env = await stackEnv(folder, { BROKER: broker, ...(server.env as Record<string, string>) });
    const { code, stderr } = await runToEnd('cli/start/main.js', env);
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /tollway: K\w+: there is no \w+ ".*".*\. Create it with npx tollway topics create\n$/,
    );
  });

  it.skipIf(skipped)(
    'charges a click, from one variable and one command on',
    { timeout: 60_000 },
    async () => {
      const env = await stackEnv(folder, { BROKER: broker, ...(server.env as Record<string, string>) });
      expect((await tollway(env, 'topics', 'create')).stdout).toMatch(/^Created: /);
      expect((await tollway(env, 'topics', 'create')).stdout).toMatch(/^Exists already: /);
      stack = await startStack(env);
      const [link = ''] = await makeLinks(stack, 1, 1);
      const { status, clickId } = await clickLink(link);
      expect(status).toBe(302);
      await until('the click in the ledger', async () =>
        (await exportRows(stack)).some((row) => row.clickId === clickId),
      );
      await until('settled books', settled);
    },
  );

  it.skipIf(skipped)('tells other commands which broker it is', { timeout: 60_000 }, async () => {
    const { BROKER: _, KAFKA_TOPIC: __, KINESIS_STREAM: ___, ...env } = stack.env;
    const told = await tollway(env, 'status', '--json');
    expect(JSON.parse(told.stdout)).toMatchObject({ broker });
    expect((await tollway(env, 'reconcile', '--settled')).code).toBe(0);
  });

  it.skipIf(skipped)(
    'reads all of it again when it is told to, and charges nothing twice',
    { timeout: 60_000 },
    async () => {
      const before = await exportRows(stack);
      expect((await stack.tollway('rewind', '--since', '1h')).code).toBe(0);
      const duplicates = async () => {
        const metrics = await (await fetch(`${stack.processorOpsUrl}/metrics`)).text();
        return Number(/^tollway_duplicate_clicks_total (\d+)$/m.exec(metrics)?.[1]);
      };
      await until('duplicates', async () => (await duplicates()) >= before.length);
      expect(await exportRows(stack)).toEqual(before);
      expect(await settled()).toBe(true);
    },
  );

  it.skipIf(skipped)(
    'charges what waits in the Postgres broker from before the switch',
    { timeout: 60_000 },
    async () => {
      const { databaseUrl } = JSON.parse((await stack.tollway('status', '--json')).stdout);
      const pool = createPool(databaseUrl, 'test', 1, () => undefined);
      try {
        const click = clickRecord({ ad: { id: 1, campaignId: 1, advertiserId: 1, priceMicros: 250_000n } });
        await createPostgresPublisher(pool).publish([click]);
        const { clickId } = click.click;
        await until('the click in the ledger', async () =>
          (await exportRows(stack)).some((row) => row.clickId === clickId),
        );
      } finally {
        await pool.end();
      }
    },
  );

  it.skipIf(skipped)('drains with exit code 0', async () => {
    expect(await stack.stop()).toBe(0);
  });
});
