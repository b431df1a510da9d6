import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sleep } from '../../common/lifecycle.ts';
import type { BrokerRecord } from '../../producer/click-event.ts';
import { expectBalanced } from '../ledger/deliver.ts';
import {
  addAccount,
  createTestDatabase,
  type NamedAd,
  type TestDatabase,
  TestOrigin,
} from '../setup/database.ts';
import { builtFunctions } from './bundles.ts';
import { cloudEventOf, type Home, startCloudEvent } from './homes.ts';

const root = builtFunctions();
let database: TestDatabase & { drop: () => Promise<void> };
let home: Home & { readonly url: string };
let ad: NamedAd;
let origin: TestOrigin;

beforeEach(async () => {
  database = await createTestDatabase();
  ({ ad } = await addAccount(database.pool));
  origin = new TestOrigin();
  home = await startCloudEvent(root, { DATABASE_URL: database.url });
});
afterEach(async () => {
  await home.stop();
  await database.drop();
});

/** Sends bytes as they are, and answers what comes back until the other side is done or some time is over. */
async function raw(bytes: (string | Buffer)[], waitMs = 3_000): Promise<string> {
  const socket = connect(Number(new URL(home.url).port), '127.0.0.1');
  let said = '';
  socket.on('data', (data) => (said += data));
  socket.on('error', (error) => (said += `<${error.message}>`));
  await once(socket, 'connect');
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  for (const piece of bytes) {
    if (socket.destroyed) break;
    if (socket.write(piece)) continue;
    const drained = new Promise((resolve) => socket.once('drain', () => resolve('drained')));
    if ((await Promise.race([drained, closed, sleep(1_000)])) !== 'drained') break;
  }
  await Promise.race([closed, sleep(waitMs)]);
  socket.destroy();
  return said;
}

const binary = (record: BrokerRecord, more: string[] = []) =>
  [
    'POST / HTTP/1.1',
    'host: x',
    'connection: close',
    'ce-specversion: 1.0',
    `ce-id: ${record.key}`,
    'ce-source: s',
    'ce-type: tollway.click',
    'content-type: application/json',
    `content-length: ${record.value?.length}`,
    ...more,
    '',
    '',
  ].join('\r\n');

describe('the CloudEvents function', () => {
  it('takes the data of an event whose data_base64 is null', async () => {
    const record = origin.click({ ad });
    const event = {
      ...(cloudEventOf(record).toJSON() as Record<string, unknown>),
      data: JSON.parse(String(record.value)),
      data_base64: null,
    };
    const response = await fetch(home.url, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      body: JSON.stringify(event),
    });
    expect(response.status).toBe(204);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 1, rejected: 0 });
  });

  it('knows a click whose header of its id came twice', async () => {
    const record = origin.click({ ad });
    const said = await raw([binary(record, [`ce-id: ${record.key}`]), record.value as Buffer]);
    expect(said).toMatch(/^HTTP\/1.1 204/);
    await raw([binary(origin.mark()), origin.mark().value as Buffer]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 1, missing: 0 });
  });

  it('says 413 to a sender that goes on sending', async () => {
    const head = `POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 200000000\r\n\r\n`;
    const said = await raw([head, ...Array.from({ length: 200 }, () => Buffer.alloc(1_000_000, 'x'))]);
    expect(said.slice(0, 200)).toMatch(/^HTTP\/1.1 413/);
    expect(await home.deliver([origin.click({ ad })])).toMatchObject({ said: '204 ' });
  });

  it('does not take a body that somebody else has read for an empty event', async () => {
    process.env.DATABASE_URL = database.url;
    const { handle } = (await import(`${root}/cloud-event/index.mjs`)) as {
      handle: (request: object, response: object) => Promise<void>;
    };
    const server = createServer(async (request, response) => {
      for await (const _chunk of request);
      await handle(request, response);
    }).listen(0);
    try {
      const { port } = server.address() as AddressInfo;
      const record = origin.click({ ad });
      const response = await fetch(`http://127.0.0.1:${port}/`, {
        method: 'POST',
        headers: { 'ce-specversion': '1.0', 'ce-id': record.key as string, 'ce-source': 's', 'ce-type': 't' },
        body: record.value?.toString() ?? '',
      });
      expect(response.status).toBe(503);
      expect((await database.pool.query('select from dead_letter')).rowCount).toBe(0);
    } finally {
      delete process.env.DATABASE_URL;
      server.close();
    }
  });

  it('charges once what many send at once while some hang up', async () => {
    const records = Array.from({ length: 40 }, () => origin.click({ ad }));
    await Promise.all(
      records.flatMap((record, index) => [
        home.deliver([record]),
        home.deliver([record]),
        raw([binary(record), ...(index % 2 ? [record.value as Buffer] : [])], index % 7),
      ]),
    );
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 40, rejected: 0 });
  });
});
