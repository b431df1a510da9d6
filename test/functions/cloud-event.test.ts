import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect, type Socket } from 'node:net';
import { CloudEvent, emitterFor, httpTransport, Mode } from 'cloudevents';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sleep } from '../../common/process.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import { expectBalanced } from '../support/charge-batch.ts';
import { addAccount, createTestDatabase, type TestDatabase } from '../support/database.ts';
import { type NamedAd, TestSpool } from '../support/records.ts';
import { until } from '../support/until.ts';
import { builtFunctions } from './bundles.ts';
import { cloudEventOf, type Runtime, startCloudEvent } from './runtimes.ts';

const root = builtFunctions();
let database: TestDatabase & { drop: () => Promise<void> };
let runtime: Runtime & { readonly url: string };
let ad: NamedAd;
let spool: TestSpool;

beforeEach(async () => {
  database = await createTestDatabase();
  ({ ad } = await addAccount(database.pool));
  spool = new TestSpool();
  runtime = await startCloudEvent(root, { DATABASE_URL: database.url });
});
afterEach(async () => {
  await runtime.stop();
  await database.drop();
});

const clicks = (count: number) => Array.from({ length: count }, () => spool.click({ ad }));

async function post(
  headers: Record<string, string>,
  body: string,
): Promise<{ status: number; message: string }> {
  const response = await fetch(runtime.url, { method: 'POST', headers, body });
  return { status: response.status, message: await response.text() };
}

const letters = async () =>
  (
    await database.pool.query<{ reason: string; detail: string; raw: Buffer }>(
      'select reason, detail, raw from dead_letter order by id',
    )
  ).rows;

/** Sends raw bytes. Returns the response received until the function closes the connection, or until `waitMs` have passed. */
async function raw(bytes: (string | Buffer)[], waitMs = 3_000): Promise<string> {
  const socket = connect(Number(new URL(runtime.url).port), '127.0.0.1');
  let message = '';
  socket.on('data', (data) => (message += data));
  socket.on('error', (error) => (message += `<${error.message}>`));
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
  return message;
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
  it.each([Mode.BINARY, Mode.STRUCTURED])(
    'charges %s events of the SDK before it answers 204',
    async (mode) => {
      const statuses: number[] = [];
      const transport = httpTransport(runtime.url);
      const emit = emitterFor(transport, { mode });
      for (const record of [...clicks(3), spool.watermark()]) {
        await emit(cloudEventOf(record));
        statuses.push((await database.pool.query('select from ledger')).rowCount ?? 0);
      }
      expect(statuses).toEqual([1, 2, 3, 3]);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 3, charged: 3 });
    },
  );

  it('charges concurrent requests, each click once, in common batches', async () => {
    const records = clicks(200);
    const results = await Promise.all([...records, ...records].map((record) => runtime.submit([record])));
    expect(results.filter(({ message }) => !message.startsWith('204'))).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 200, charged: 200 });
    const { rows } = await database.pool.query<{ transactions: number }>(
      'select count(distinct xmin::text)::int as transactions from ledger',
    );
    expect(rows[0]?.transactions).toBeLessThan(100);
  });

  it('answers 422 for an event that is not a click, after it is stored as a dead letter', async () => {
    const garbage: BrokerRecord = {
      key: `${spool.id}.${spool.next().sequence}`,
      value: Buffer.from('no click'),
    };
    expect((await runtime.submit([garbage])).message).toBe(
      '422 {"error":"cloud-event: Expected JSON, got 8 bytes of other data; it is stored as a dead letter"}',
    );
    const event = cloudEventOf(clicks(1)[0] as BrokerRecord).toJSON() as Record<string, unknown>;
    const { id: _, ...nameless } = event;
    const body = JSON.stringify(nameless);
    const type = { 'content-type': 'application/cloudevents+json' };
    for (let time = 0; time < 2; time += 1) {
      expect(await post(type, body)).toEqual({
        status: 422,
        message:
          '{"error":"cloud-event: Expected a text in id of the CloudEvent, got nothing; it is stored as a dead letter"}',
      });
    }
    expect(await letters()).toEqual([
      { reason: 'malformed', detail: 'Expected JSON, got 8 bytes of other data', raw: garbage.value },
      {
        reason: 'malformed',
        detail: 'Expected a text in id of the CloudEvent, got nothing',
        raw: Buffer.from(body),
      },
    ]);
  });

  it('answers 204 for a batch with valid and invalid events, which are all settled', async () => {
    const [good] = clicks(1);
    const { message } = await runtime.submit([good as BrokerRecord, { key: 'odd', value: Buffer.from('x') }]);
    expect(message).toBe('204 ');
    expect(await letters()).toHaveLength(1);
    expect(await runtime.submit([])).toMatchObject({ message: '204 ' });
  });

  it('refuses requests that are not CloudEvents, and keeps nothing of them', async () => {
    expect(await post({ 'content-type': 'application/json' }, '{}')).toMatchObject({ status: 415 });
    expect((await fetch(runtime.url)).status).toBe(405);
    expect(await letters()).toEqual([]);
  });

  it('charges the other events of a batch with a deeply nested or very large event, and keeps that one', async () => {
    const events = clicks(3).map((record) => JSON.stringify(cloudEventOf(record)));
    const deep = `{"data":${'['.repeat(100_000)}`;
    const body = `[${events[0]},{"id":"${'x'.repeat(1_000_000)}"},${events[1]},{},${events[2]},${deep}]`;
    const type = { 'content-type': 'application/cloudevents-batch+json' };
    expect(await post(type, body)).toMatchObject({ status: 204 });
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 3 });
    expect((await letters()).map(({ raw }) => raw.length).sort((a, b) => a - b)).toEqual([2, 65_536, 65_536]);
  });

  it('refuses a batch of numbers', async () => {
    const type = { 'content-type': 'application/cloudevents-batch+json' };
    const zeros = (count: number) => `[${Array(count).fill('0').join(',')}]`;
    expect(await post(type, zeros(8_000_000))).toMatchObject({ status: 413 });
    expect(await letters()).toEqual([]);
    expect(await post(type, zeros(10_000))).toMatchObject({ status: 422 });
    expect(await letters()).toHaveLength(1);
  });

  it.each([
    { 'content-type': 'application/cloudevents+xml' },
    { 'content-type': 'application/cloudevents+protobuf' },
    { 'content-type': 'application/cloudevents+avro' },
    { 'content-type': 'application/cloudevents+json', 'content-encoding': 'gzip' },
  ])('answers 415 for unsupported formats, and keeps nothing of them: %j', async (headers) => {
    expect(await post(headers, 'x')).toMatchObject({ status: 415 });
    expect(await letters()).toEqual([]);
  });

  it('limits the memory of all requests by the bytes read, not by the declared lengths', async () => {
    const port = Number(new URL(runtime.url).port);
    const head = 'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents+json\r\n';
    const open = async (...pieces: (string | Buffer)[]) => {
      const socket = connect(port, '127.0.0.1').on('error', () => {});
      await once(socket, 'connect');
      for (const piece of pieces) socket.write(piece);
      return socket;
    };
    // These requests declare more than the limit but send nothing.
    const idle = await Promise.all(
      Array.from({ length: 8 }, () => open(`${head}content-length: 16000000\r\n\r\n`)),
    );
    expect(await runtime.submit(clicks(1))).toMatchObject({ message: '204 ' });
    // Chunked bodies declare no length, and these never end.
    const chunk = [`${(15_000_000).toString(16)}\r\n`, Buffer.alloc(15_000_000, 'x'), '\r\n'];
    // The server closes them after the request timeout, and reading takes a variable time, so they are sent again for each check.
    let full: Socket[] = [];
    const fill = async () => {
      for (const socket of full) socket.destroy();
      full = await Promise.all(
        Array.from({ length: 4 }, () => open(`${head}transfer-encoding: chunked\r\n\r\n`, ...chunk)),
      );
      const read = (socket: Socket) =>
        new Promise<void>((resolve) => {
          if (socket.writableLength === 0) return resolve();
          socket.once('drain', resolve).once('close', () => resolve());
        });
      await Promise.all(full.map(read));
    };
    const type = { 'content-type': 'application/cloudevents+json' };
    const large = JSON.stringify('x'.repeat(8_000_000));
    await until('a refusal because the function is at capacity', async () => {
      await fill();
      const { status, message } = await post(type, large);
      return status === 503 && message.includes('The function is at capacity');
    });
    // There is capacity for a small request, and for a large one after the others have ended.
    expect(await runtime.submit(clicks(1))).toMatchObject({ message: '204 ' });
    for (const socket of [...idle, ...full]) socket.destroy();
    await until('an answer about the large event', async () => (await post(type, large)).status === 422);
  });

  it.each([
    [{ BATCH_SIZE: '0' }, /cloud-event: .*BATCH_SIZE: expected a whole number/s],
    [{ PORT: 'abc' }, /PORT: expected a port of 1–65535, got "abc"/],
  ])('does not start with %j, and reports the reason', async (env, message) => {
    const wrong = await startCloudEvent(root, { DATABASE_URL: database.url, ...env });
    expect(wrong.logs()).toMatch(message);
  });

  it('continues after a sender closed its connection in the middle of a request', async () => {
    const socket = connect(Number(new URL(runtime.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 100\r\n\r\n{',
    );
    socket.destroy();
    expect(await runtime.submit(clicks(1))).toMatchObject({ message: '204 ' });
    expect(await letters()).toEqual([]);
  });

  it('accepts a body that a framework has already read', async () => {
    process.env.DATABASE_URL = database.url;
    const { handle } = (await import(`${root}/cloud-event/index.mjs`)) as {
      handle: (request: object, response: object) => Promise<void>;
    };
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      await handle(Object.assign(request, { rawBody: Buffer.concat(chunks), body: {} }), response);
    }).listen(0);
    try {
      const { port } = server.address() as AddressInfo;
      const emit = emitterFor(httpTransport(`http://127.0.0.1:${port}/`), { mode: Mode.BINARY });
      await emit(new CloudEvent(cloudEventOf(clicks(1)[0] as BrokerRecord)));
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 1, charged: 1 });
    } finally {
      delete process.env.DATABASE_URL;
      server.close();
    }
  });

  it('finishes pending requests on SIGTERM', async () => {
    const records = clicks(50);
    const delivered = records.map((record) => runtime.submit([record]));
    await Promise.race(delivered);
    process.kill(runtime.pid(), 'SIGTERM');
    const outcomes = await Promise.allSettled(delivered);
    const done = outcomes.flatMap((outcome, index) =>
      outcome.status === 'fulfilled' && outcome.value.message.startsWith('204')
        ? [records[index]?.click.clickId]
        : [],
    );
    const { rows } = await database.pool.query<{ click_id: string }>('select click_id from ledger');
    expect(rows.map(({ click_id }) => click_id)).toEqual(expect.arrayContaining(done));
    expect(done.length).toBeGreaterThan(0);
  });

  it('reads the data of an event whose data_base64 is null', async () => {
    const record = spool.click({ ad });
    const event = {
      ...(cloudEventOf(record).toJSON() as Record<string, unknown>),
      data: JSON.parse(String(record.value)),
      data_base64: null,
    };
    const response = await fetch(runtime.url, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      body: JSON.stringify(event),
    });
    expect(response.status).toBe(204);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 1, rejected: 0 });
  });

  it('recognizes a click whose id header was sent twice', async () => {
    const record = spool.click({ ad });
    const message = await raw([binary(record, [`ce-id: ${record.key}`]), record.value as Buffer]);
    expect(message).toMatch(/^HTTP\/1.1 204/);
    await raw([binary(spool.watermark()), spool.watermark().value as Buffer]);
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 1, missing: 0 });
  });

  it.each([
    ['content-length: 200000000', (piece: Buffer) => piece],
    [
      'transfer-encoding: chunked',
      (piece: Buffer) =>
        Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]),
    ],
  ])('answers 413 to a sender that continues to send (%s)', async (length, framed) => {
    const head = `POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents+json\r\n${length}\r\n\r\n`;
    const piece = framed(Buffer.alloc(1_000_000, 'x'));
    const message = await raw([head, ...Array.from({ length: 200 }, () => piece)]);
    expect(message.slice(0, 400)).toMatch(
      /^HTTP\/1.1 413[\s\S]*cloud-event: expected at most 16777216 bytes/,
    );
    expect(await runtime.submit([spool.click({ ad })])).toMatchObject({ message: '204 ' });
  });

  it('does not treat a body that other code has read as an empty event', async () => {
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
      const record = spool.click({ ad });
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

  it('charges each click once if many senders send it and some close their connections', async () => {
    const records = Array.from({ length: 40 }, () => spool.click({ ad }));
    await Promise.all(
      records.flatMap((record, index) => [
        runtime.submit([record]),
        runtime.submit([record]),
        raw([binary(record), ...(index % 2 ? [record.value as Buffer] : [])], index % 7),
      ]),
    );
    expect(await expectBalanced(database.pool)).toMatchObject({ charged: 40, rejected: 0 });
  });
});
