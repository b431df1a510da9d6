import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { CloudEvent, emitterFor, httpTransport, Mode } from 'cloudevents';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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

const clicks = (count: number) => Array.from({ length: count }, () => origin.click({ ad }));

async function post(
  headers: Record<string, string>,
  body: string,
): Promise<{ status: number; said: string }> {
  const response = await fetch(home.url, { method: 'POST', headers, body });
  return { status: response.status, said: await response.text() };
}

const letters = async () =>
  (
    await database.pool.query<{ reason: string; detail: string; raw: Buffer }>(
      'select reason, detail, raw from dead_letter order by id',
    )
  ).rows;

describe('the CloudEvents function', () => {
  it.each([Mode.BINARY, Mode.STRUCTURED])(
    'charges what the SDK emits, %s, before it answers 204',
    async (mode) => {
      const statuses: number[] = [];
      const transport = httpTransport(home.url);
      const emit = emitterFor(transport, { mode });
      for (const record of [...clicks(3), origin.mark()]) {
        await emit(cloudEventOf(record));
        statuses.push((await database.pool.query('select from ledger')).rowCount ?? 0);
      }
      expect(statuses).toEqual([1, 2, 3, 3]);
      expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 3, charged: 3 });
    },
  );

  it('charges many requests at once, each click once, and gathers them into batches', async () => {
    const records = clicks(200);
    const done = await Promise.all([...records, ...records].map((record) => home.deliver([record])));
    expect(done.filter(({ said }) => !said.startsWith('204'))).toEqual([]);
    expect(await expectBalanced(database.pool)).toMatchObject({ accepted: 200, charged: 200 });
    const { rows } = await database.pool.query<{ transactions: number }>(
      'select count(distinct xmin::text)::int as transactions from ledger',
    );
    expect(rows[0]?.transactions).toBeLessThan(100);
  });

  it('answers 422 for what is no click, once it lies with the dead letters', async () => {
    const garbage: BrokerRecord = {
      key: `${origin.id}.${origin.next().sequence}`,
      value: Buffer.from('no click'),
    };
    expect((await home.deliver([garbage])).said).toBe(
      '422 {"error":"cloud-event: Expected JSON, got 8 bytes that are not; it lies with the dead letters"}',
    );
    const event = cloudEventOf(clicks(1)[0] as BrokerRecord).toJSON() as Record<string, unknown>;
    const { id: _, ...nameless } = event;
    const body = JSON.stringify(nameless);
    const type = { 'content-type': 'application/cloudevents+json' };
    for (let time = 0; time < 2; time += 1) {
      expect(await post(type, body)).toEqual({
        status: 422,
        said: '{"error":"cloud-event: Expected a text in id of the CloudEvent, got nothing; it lies with the dead letters"}',
      });
    }
    expect(await letters()).toEqual([
      { reason: 'malformed', detail: 'Expected JSON, got 8 bytes that are not', raw: garbage.value },
      {
        reason: 'malformed',
        detail: 'Expected a text in id of the CloudEvent, got nothing',
        raw: Buffer.from(body),
      },
    ]);
  });

  it('answers 204 for a batch with good and bad ones: all of it is settled', async () => {
    const [good] = clicks(1);
    const { said } = await home.deliver([good as BrokerRecord, { key: 'odd', value: Buffer.from('x') }]);
    expect(said).toBe('204 ');
    expect(await letters()).toHaveLength(1);
    expect(await home.deliver([])).toMatchObject({ said: '204 ' });
  });

  it('refuses what is no CloudEvent, and keeps nothing of it', async () => {
    expect(await post({ 'content-type': 'application/json' }, '{}')).toMatchObject({ status: 415 });
    expect((await fetch(home.url)).status).toBe(405);
    const large = await post({ 'content-type': 'application/cloudevents+json' }, 'x'.repeat(17_000_000));
    expect(large).toEqual({ status: 413, said: '{"error":"cloud-event: expected at most 16777216 bytes"}' });
    expect(await letters()).toEqual([]);
  });

  it('goes on after a sender that hung up in the middle', async () => {
    const socket = connect(Number(new URL(home.url).port), '127.0.0.1');
    await once(socket, 'connect');
    socket.write(
      'POST / HTTP/1.1\r\nhost: x\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 100\r\n\r\n{',
    );
    socket.destroy();
    expect(await home.deliver(clicks(1))).toMatchObject({ said: '204 ' });
    expect(await letters()).toEqual([]);
  });

  it('serves where a framework has read the body already', async () => {
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

  it('ends what it has begun when it is told to end', async () => {
    const records = clicks(50);
    const delivered = records.map((record) => home.deliver([record]));
    await Promise.race(delivered);
    process.kill(home.pid(), 'SIGTERM');
    const verdicts = await Promise.allSettled(delivered);
    const done = verdicts.flatMap((verdict, index) =>
      verdict.status === 'fulfilled' && verdict.value.said.startsWith('204')
        ? [records[index]?.click.clickId]
        : [],
    );
    const { rows } = await database.pool.query<{ click_id: string }>('select click_id from ledger');
    expect(rows.map(({ click_id }) => click_id)).toEqual(expect.arrayContaining(done));
    expect(done.length).toBeGreaterThan(0);
  });
});
