import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server as HttpServer, request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createBacklogs } from '../../brokers/create-event-sources.ts';
import { createStream } from '../../brokers/kinesis/client.ts';
import { createKinesisPublisher } from '../../brokers/kinesis/publisher.ts';
import { parseConfig } from '../../common/config/config.ts';
import { startKinesis } from '../../emulators/kinesis/start.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { EXPECTED_ACTIONS } from '../functions/deployment.ts';
import { silent } from '../support/loggers.ts';
import { cellsOf, readPage, rowsOf } from '../support/markdown.ts';
import type { Server } from './broker.ts';
import { AWS } from './kinesis-broker.ts';
import { untilSettled, withEnvironment } from './test-environment.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const actionsIn = (text: string) =>
  [...new Set([...text.matchAll(/kinesis:\w+/g)].map(([action]) => action))].sort();
/** The actions of the table, by part. */
const table = new Map(
  rowsOf(readPage('docs/brokers.md'), 'part').map((row) => {
    const [part = '', actions = ''] = cellsOf(row);
    return [part.replaceAll('`', ''), actionsIn(actions)];
  }),
);

/** A proxy to the emulator that records the requested actions. */
let recorder: HttpServer;
let emulator: Awaited<ReturnType<typeof startKinesis>>;
const requested = new Set<string>();

beforeAll(async () => {
  Object.assign(process.env, AWS);
  emulator = await startKinesis();
  const { hostname, port } = new URL(emulator.endpoint);
  recorder = createServer((incoming, outgoing) => {
    // https://docs.aws.amazon.com/kinesis/latest/APIReference/CommonParameters.html: Kinesis_20131202.PutRecords
    requested.add(`kinesis:${String(incoming.headers['x-amz-target']).split('.')[1]}`);
    const { method, url, headers } = incoming;
    const passed = request({ hostname, port, method, path: url, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    passed.on('error', () => outgoing.destroy());
    incoming.pipe(passed);
  }).listen(0, '127.0.0.1');
  await once(recorder, 'listening');
});
afterAll(async () => {
  recorder?.close();
  recorder?.closeAllConnections();
  await emulator?.stop();
});

function endpoint(): string {
  const address = recorder.address();
  if (typeof address !== 'object' || address === null) throw new Error('Expected a TCP address');
  return `http://127.0.0.1:${address.port}`;
}

/** The actions that `work` requests of Kinesis. */
async function actionsOf(work: () => Promise<unknown>): Promise<string[]> {
  requested.clear();
  await work();
  return [...requested].sort();
}

/** A stream whose requests are recorded; clicks are published elsewhere. */
const recorded: Server = {
  open: async (database, more = {}) => {
    const env: Record<string, string> = {
      ...AWS,
      BROKER: 'kinesis',
      DATABASE_URL: database.url,
      KINESIS_ENDPOINT: endpoint(),
      KINESIS_STREAM: 'clicks',
      KINESIS_SHARDS: '2',
      ...more,
    };
    const config = parseConfig(env);
    const publisher = createKinesisPublisher(config);
    return {
      env,
      config,
      publisher,
      backlogs: await createBacklogs(config, silent),
      publishTo: async (_, records) => void (await publisher.publish(records)),
      deletePositions: {},
      place: () => /./,
      close: publisher.close,
    };
  },
  outage: null,
  freeze: null,
  stop: async () => undefined,
};

describe('the actions of Kinesis in docs/brokers.md', () => {
  it('are those that each part requests, and no other', { timeout: 60_000 }, async () => {
    await withEnvironment(recorded, async ({ broker, clicks, spool, database, consume }) => {
      const { config, publisher } = broker;
      const create = async () => {
        await createStream(config);
        await createStream({ ...config, KINESIS_SHARDS: 4 });
      };
      expect(await actionsOf(create)).toEqual(table.get('tollway topics create'));

      const publish = () => publisher.publish(clicks(5));
      expect(await actionsOf(publish)).toEqual(table.get('function lambda-redirect'));
      const publishAll = async () => {
        await publish();
        await publisher.publishEverywhere(spool.watermark());
      };
      expect(await actionsOf(publishAll)).toEqual(table.get('ad server'));

      const charge = async () => {
        const consumer = await consume();
        await untilSettled(database.pool, spool.accepted, consumer);
        await consumer.source.lag();
        await consumer.stop();
      };
      expect(await actionsOf(charge)).toEqual(table.get('processor'));

      const brokers = broker.backlogs.slice(-1);
      await publish();
      const reconcileNow = () => reconcile(database.pool, { deep: false, brokers });
      expect(await actionsOf(reconcileNow)).toEqual(table.get('tollway reconcile'));
      const rewind = async () => brokers[0]?.rewind(database.pool, new Date(Date.now() - 60_000));
      expect(await actionsOf(rewind)).toEqual(table.get('tollway rewind'));
    });
  });

  it.each(['lambda-kinesis', 'lambda-redirect'])('are those that the deployments grant to %s', (name) => {
    expect(table.get(`function ${name}`)).toEqual(actionsIn(EXPECTED_ACTIONS[name]?.join(' ') ?? ''));
  });

  it.each(['deploy/terraform/iam.tf', 'deploy/serverless/roles.yml'])('are the only ones in %s', (path) => {
    const functions = [...table].filter(([part]) => part.startsWith('function '));
    const all = actionsIn(functions.flatMap(([, actions]) => actions).join(' '));
    expect(actionsIn(readFileSync(join(ROOT, path), 'utf8'))).toEqual(all);
  });
});
