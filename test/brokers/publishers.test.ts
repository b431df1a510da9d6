import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createKinesisPublisher } from '../../brokers/kinesis/publisher.ts';
import type { Publisher } from '../../brokers/publisher.ts';
import { splitRecords } from '../../brokers/split-records.ts';
import { parseConfig } from '../../common/config/config.ts';
import type { BrokerRecord } from '../../contract/click-event.ts';
import { AWS } from './kinesis-broker.ts';

const record = (key: string, valueBytes = 1): BrokerRecord => ({ key, value: Buffer.alloc(valueBytes) });
const records = (count: number, valueBytes = 1) =>
  Array.from({ length: count }, (_, index) => record(String(index).padStart(4, '0'), valueBytes));
const keysOf = (some: readonly BrokerRecord[]) => some.map(({ key }) => key);

describe('records split into calls', () => {
  it.each([
    [0, []],
    [1, [1]],
    [499, [499]],
    [500, [500]],
    [501, [500, 1]],
    [1_000, [500, 500]],
    [1_001, [500, 500, 1]],
  ])('never exceed the limit of records: %i records', (count, sizes) => {
    const calls = splitRecords(records(count), { records: 500, bytes: 1_000_000, overhead: 0 });
    expect(calls.map(({ length }) => length)).toEqual(sizes);
    expect(keysOf(calls.flat())).toEqual(keysOf(records(count)));
  });

  it.each([
    // 4 bytes of key and 6 of value, 10 a record.
    [30, 0, [3, 1]],
    [29, 0, [2, 2]],
    [39, 0, [3, 1]],
    [40, 0, [4]],
    // With an overhead for each record.
    [36, 2, [3, 1]],
    [35, 2, [2, 2]],
    // Each is too large by itself and still gets a call, so that the broker refuses it.
    [9, 0, [1, 1, 1, 1]],
  ])('never exceed the limit of %i bytes with an overhead of %i', (bytes, overhead, sizes) => {
    const calls = splitRecords(records(4, 6), { records: 500, bytes, overhead });
    expect(calls.map(({ length }) => length)).toEqual(sizes);
  });

  it('keep their order around a large record', () => {
    const mixed = [record('a'), record('b', 100), record('c'), record('d')];
    const calls = splitRecords(mixed, { records: 500, bytes: 50, overhead: 0 });
    expect(calls.map(keysOf)).toEqual([['a'], ['b'], ['c', 'd']]);
  });

  it('count the overhead alone for a record without key and value', () => {
    const nothing: BrokerRecord = { key: null, value: null };
    const calls = splitRecords([nothing, nothing, nothing], { records: 500, bytes: 20, overhead: 10 });
    expect(calls.map(({ length }) => length)).toEqual([2, 1]);
  });
});

type Call = { readonly operation: string; readonly body: Readonly<Record<string, unknown>> };
type Entry = { readonly PartitionKey: string; readonly ExplicitHashKey?: string };

describe('the publisher to Kinesis', () => {
  const calls: Call[] = [];
  let answer: (call: Call) => { status?: number; body: object };
  let publisher: Publisher;
  let close: () => Promise<void>;

  /** An endpoint that responds as a test says, because the emulator never refuses a part of a call. */
  beforeEach(async () => {
    calls.length = 0;
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const operation = String(request.headers['x-amz-target']).split('.')[1] ?? '';
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>;
      calls.push({ operation, body });
      const { status = 200, body: answered } = answer({ operation, body });
      response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' });
      response.end(JSON.stringify(answered));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    Object.assign(process.env, AWS);
    publisher = createKinesisPublisher(
      parseConfig({
        BROKER: 'kinesis',
        DATABASE_URL: 'postgres://127.0.0.1/none',
        KINESIS_STREAM: 'clicks',
        KINESIS_ENDPOINT: `http://127.0.0.1:${port}`,
      }),
    );
    close = async () => {
      await publisher.close();
      server.close();
      server.closeAllConnections();
    };
  });
  afterEach(() => close());

  const entriesOf = ({ body }: Call) => body.Records as readonly Entry[];
  const taken = ({ PartitionKey }: Entry) => ({ SequenceNumber: `1${PartitionKey}`, ShardId: 'shard' });
  const refused = { ErrorCode: 'ProvisionedThroughputExceededException', ErrorMessage: 'Rate exceeded' };
  /** Refuses the records with these keys. */
  const refusing =
    (...keys: string[]) =>
    (call: Call) => {
      const entries = entriesOf(call);
      const results = entries.map((entry) => (keys.includes(entry.PartitionKey) ? refused : taken(entry)));
      const failed = entries.filter(({ PartitionKey }) => keys.includes(PartitionKey)).length;
      return { body: { FailedRecordCount: failed, Records: results } };
    };

  it('returns exactly the records that were refused', async () => {
    answer = refusing('0001');
    expect(keysOf(await publisher.publish(records(3)))).toEqual(['0001']);
    answer = refusing('0000', '0002');
    expect(keysOf(await publisher.publish(records(3)))).toEqual(['0000', '0002']);
    answer = refusing();
    expect(await publisher.publish(records(3))).toEqual([]);
  });

  it('returns the refused records of every call of a batch', async () => {
    answer = refusing('0003', '0600', '1000');
    expect(keysOf(await publisher.publish(records(1_001)))).toEqual(['0003', '0600', '1000']);
    const sizes = calls.map((call) => entriesOf(call).length).sort((a, b) => b - a);
    expect(sizes).toEqual([500, 500, 1]);
  });

  it.each([
    ['no count', (some: readonly Entry[]) => ({ Records: some.map(taken) }), []],
    [
      'fewer results than records',
      (some: readonly Entry[]) => ({ FailedRecordCount: 1, Records: some.slice(0, 2).map(taken) }),
      ['0002'],
    ],
    ['nothing', () => ({}), ['0000', '0001', '0002']],
    ['a count and no results', () => ({ FailedRecordCount: 3 }), ['0000', '0001', '0002']],
  ])('counts a record without a result as refused: %s', async (_, body, left) => {
    answer = (call) => ({ body: body(entriesOf(call)) });
    expect(keysOf(await publisher.publish(records(3)))).toEqual(left);
  });

  it('throws if a whole call fails, although others were accepted', async () => {
    answer = (call) =>
      entriesOf(call).length === 1
        ? { status: 400, body: { __type: 'AccessDeniedException', message: 'no' } }
        : refusing()(call);
    await expect(publisher.publish(records(501))).rejects.toMatchObject({ code: 'kinesis_login' });
  });

  it('publishes a watermark to every open shard, and to no closed one', async () => {
    const shard = (id: number, end?: string) => ({
      ShardId: `shard-${id}`,
      HashKeyRange: { StartingHashKey: String(id * 100), EndingHashKey: String(id * 100 + 99) },
      SequenceNumberRange: { StartingSequenceNumber: '1', ...(end && { EndingSequenceNumber: end }) },
    });
    // In two pages, as of a stream with many shards.
    const pages = [
      { Shards: [shard(0), shard(1, '9')], NextToken: 'more' },
      { Shards: [shard(2), shard(3)] },
    ];
    answer = ({ operation, body }) => {
      if (operation === 'ListShards') return { body: pages[body.NextToken === 'more' ? 1 : 0] ?? {} };
      return { body: { SequenceNumber: '1', ShardId: 'shard' } };
    };
    await publisher.publishEverywhere(record('watermark'));
    const puts = calls.filter(({ operation }) => operation === 'PutRecord');
    expect(puts.map(({ body }) => body.ExplicitHashKey).sort()).toEqual(['0', '200', '300']);
    expect(puts.map(({ body }) => body.PartitionKey)).toEqual(['watermark', 'watermark', 'watermark']);
  });

  it('throws if one shard refuses a watermark', async () => {
    answer = ({ operation, body }) => {
      if (operation !== 'ListShards')
        return body.ExplicitHashKey === '100'
          ? { status: 400, body: { __type: 'ProvisionedThroughputExceededException', message: 'slower' } }
          : { body: { SequenceNumber: '1', ShardId: 'shard' } };
      const range = (start: string) => ({ HashKeyRange: { StartingHashKey: start, EndingHashKey: '999' } });
      const numbers = { SequenceNumberRange: { StartingSequenceNumber: '1' } };
      return { body: { Shards: ['0', '100'].map((start) => ({ ...range(start), ...numbers })) } };
    };
    await expect(publisher.publishEverywhere(record('watermark'))).rejects.toMatchObject({ retryable: true });
  });
});
