import { CloudEvent, HTTP } from 'cloudevents';
import { describe, expect, it } from 'vitest';
import type { BrokerRecord, ReadRecord } from '../../contract/click-event.ts';
import { readCloudEvents } from '../../processor/events/cloud-events.ts';
import { readKafkaEvent } from '../../processor/events/kafka-event.ts';
import { readKinesisEvent } from '../../processor/events/kinesis-event.ts';
import { readMessages } from '../../processor/events/openwhisk-messages.ts';
import { readS3Event } from '../../processor/events/s3-event.ts';
import { clickRecord, TestSpool } from '../support/records.ts';
import { kafkaEvent, kinesisEvent, TOPIC } from './runtimes.ts';

const click = clickRecord();
const record: BrokerRecord = { key: click.key, value: click.value };

/** The detail of a dead letter. */
const detailOf = (read: ReadRecord | undefined) =>
  read?.is === 'unreadable' ? read.detail : `a ${read?.is}`;

/** A copy of an event with one field of its first record changed. */
function changed(event: unknown, path: readonly (string | number)[], value: unknown): unknown {
  const copy = structuredClone(event);
  let at = copy as Record<string | number, unknown>;
  for (const name of path.slice(0, -1)) at = at[name] as Record<string | number, unknown>;
  at[path.at(-1) ?? ''] = value;
  return copy;
}

describe('a Kinesis event', () => {
  const event = kinesisEvent([record, record]);

  it('has the same record positions as in the long-lived consumer', () => {
    const { records } = readKinesisEvent('f', event);
    expect(records[0]).toMatchObject({ is: 'click', key: record.key, from: click.from });
    const { approximateArrivalTimestamp = 0 } = event.Records[0]?.kinesis ?? {};
    expect(records[0]?.publishedAt).toBe(Math.round(approximateArrivalTimestamp * 1_000));
    expect(records[1]?.position).toMatch(/^tollway-clicks\/shardId-000000000006@\d{56}$/);
  });

  it('is answered with the lowest sequence number that is not settled, or with none if all are', () => {
    const { responseAfter } = readKinesisEvent('f', event);
    const numbers = event.Records.map(({ kinesis }) => kinesis.sequenceNumber);
    expect([0, 1, 2].map((settled) => responseAfter(settled).batchItemFailures)).toEqual([
      [{ itemIdentifier: numbers[0] }],
      [{ itemIdentifier: numbers[1] }],
      [],
    ]);
    expect(readKinesisEvent('f', { Records: [] }).responseAfter(0)).toEqual({ batchItemFailures: [] });
  });

  it.each([
    [undefined, 'Expected base64 in Records[0].kinesis.data, got nothing'],
    [null, 'Expected base64 in Records[0].kinesis.data, got nothing'],
    ['{"v":1}', 'Expected base64 in Records[0].kinesis.data, got 11 bytes of other data'],
    ['abc', 'Expected base64 in Records[0].kinesis.data, got 5 bytes of other data'],
    [7, 'Expected base64 in Records[0].kinesis.data, got 1 byte of other data'],
  ])(
    'keeps a payload of %j as a dead letter with its sequence and an error that names the field',
    (data, detail) => {
      const { records } = readKinesisEvent('f', changed(event, ['Records', 0, 'kinesis', 'data'], data));
      expect(detailOf(records[0])).toBe(detail);
      expect(records[0]).toMatchObject({ from: click.from, reason: 'malformed' });
      expect(records[1]?.is).toBe('click');
    },
  );

  it.each([
    [{}, 'f: Records: expected the records of a Kinesis stream, got an empty object'],
    [null, 'f: Records: expected the records of a Kinesis stream, got null'],
    [
      kafkaEvent([record]),
      'f: Records: expected the records of a Kinesis stream, got an object with eventSource,',
    ],
    [
      { Records: [{ eventSource: 'aws:sqs' }] },
      'f: Records[0].eventSource: expected "aws:kinesis", got "aws:sqs"',
    ],
    [
      { Records: [{ EventSource: 'aws:sns' }] },
      'f: Records[0].eventSource: expected "aws:kinesis", got "aws:sns"',
    ],
    [{ Records: [null] }, 'f: Records[0].eventSource: expected "aws:kinesis", got null'],
    [changed(event, ['Records', 1, 'kinesis'], 1), 'f: Records[1].kinesis: expected an object, got 1'],
    [
      changed(event, ['Records', 1, 'kinesis', 'sequenceNumber'], undefined),
      'f: Records[1].kinesis.sequenceNumber: expected a text, got nothing',
    ],
  ])('is refused as a whole if a record has no position to retry from: %#', (given, message) => {
    expect(() => readKinesisEvent('f', given)).toThrow(message);
  });
});

describe('a Kafka event', () => {
  const event = kafkaEvent([record, record, record, record]);

  it('is read partition by partition', () => {
    const { records } = readKafkaEvent('f', event);
    expect(records.map(({ position }) => position)).toEqual([
      'tollway-clicks/0@1000',
      'tollway-clicks/0@1001',
      'tollway-clicks/1@1000',
      'tollway-clicks/1@1001',
    ]);
    expect(records[0]).toMatchObject({ is: 'click', from: click.from });
    expect(records[0]?.publishedAt).toBe(event.records[`${TOPIC}-0`]?.[0]?.timestamp);
  });

  it('is answered with one position for each partition that is not settled', () => {
    const { responseAfter } = readKafkaEvent('f', event);
    const at = (partition: number, offset: number) => ({
      itemIdentifier: { partition: `tollway-clicks-${partition}`, offset },
    });
    expect([0, 1, 2, 3, 4].map((settled) => responseAfter(settled).batchItemFailures)).toEqual([
      [at(0, 1000), at(1, 1000)],
      [at(0, 1001), at(1, 1000)],
      [at(1, 1000)],
      [at(1, 1001)],
      [],
    ]);
  });

  it('keeps tombstones and values that are not base64 as dead letters', () => {
    const place = ['records', 'tollway-clicks-0', 0];
    const none = readKafkaEvent('f', changed(event, [...place, 'value'], undefined));
    expect(detailOf(none.records[0])).toBe(
      'Expected base64 in records["tollway-clicks-0"][0].value, got nothing',
    );
    const garbage = readKafkaEvent(
      'f',
      changed(changed(event, [...place, 'value'], '%'), [...place, 'key'], null),
    );
    expect(garbage.records[0]).toMatchObject({ is: 'unreadable', key: null, value: Buffer.from('"%"') });
  });

  it.each([
    [{}, 'f: eventSource: expected "aws:kafka" or "SelfManagedKafka", got an empty object'],
    [
      kinesisEvent([record]),
      'f: eventSource: expected "aws:kafka" or "SelfManagedKafka", got an object with Records',
    ],
    [
      { eventSource: 'aws:sqs', records: {} },
      'f: eventSource: expected "aws:kafka" or "SelfManagedKafka", got "aws:sqs"',
    ],
    [{ eventSource: 'aws:kafka' }, 'f: records: expected an object of topic partitions, got nothing'],
    [{ eventSource: 'aws:kafka', records: { a: 1 } }, 'f: records["a"]: expected a list, got 1'],
    [
      { eventSource: 'aws:kafka', records: { a: [{}] } },
      'f: records["a"][0].offset: expected a whole number, got nothing',
    ],
  ])('is refused as a whole if a record has no position to retry from: %#', (given, message) => {
    expect(() => readKafkaEvent('f', given)).toThrow(message);
  });

  it('can come from a self-managed cluster', () => {
    expect(readKafkaEvent('f', { ...event, eventSource: 'SelfManagedKafka' }).records).toHaveLength(4);
  });
});

describe("the messages of OpenWhisk's feed", () => {
  const message = { topic: 't', partition: 1, offset: 2, key: record.key, value: String(record.value) };
  const read = (more: object) => readMessages('f', { messages: [{ ...message, ...more }] })[0];

  it('are read as text, as JSON that the feed has parsed, and as base64', () => {
    for (const value of [
      message.value,
      JSON.parse(message.value),
      Buffer.from(message.value).toString('base64').replace(/.{76}/g, '$&\n'),
    ]) {
      expect(read({ value })).toMatchObject({ is: 'click', from: click.from, position: 't/1@2' });
    }
  });

  it('are read if the feed has encoded keys and values, also of watermarks', () => {
    const encoded = (text: string) => Buffer.from(text).toString('base64');
    for (const value of [
      message.value,
      ` ${message.value}`,
      `\r\n\t${message.value}`,
      `\ufeff${message.value}`,
    ])
      for (const text of [encoded(value), `  ${encoded(value)}\n`])
        expect(read({ key: encoded(message.key ?? ''), value: text }), text).toMatchObject({
          is: 'click',
          key: message.key,
          from: click.from,
        });
    const watermark = new TestSpool().watermark();
    const both = { key: encoded(String(watermark.key)), value: encoded(String(watermark.value)) };
    expect(read(both)).toMatchObject({ is: 'watermark', key: watermark.key });
  });

  it('are read in linear time, even if they are hostile', () => {
    // Quadratic time would be half a minute for these lengths.
    const texts = [`eyJ${'\n'.repeat(200_000)}%`, `eyJ${' '.repeat(200_000)}x`, 'A'.repeat(200_001)];
    const startedAt = performance.now();
    for (const text of texts) expect(read({ key: text, value: text })).toMatchObject({ is: 'unreadable' });
    expect(performance.now() - startedAt).toBeLessThan(1_000);
  });

  it('that are nested too deeply do not affect others', () => {
    const deep = JSON.parse(`${'['.repeat(20_000)}${']'.repeat(20_000)}`) as unknown;
    const messages = [{ ...message, value: deep }, message];
    const records = readMessages('f', { messages });
    expect(records).toMatchObject([{ is: 'unreadable', from: click.from }, { is: 'click' }]);
    expect(detailOf(records[0])).toBe('Expected a click event, got JSON that is nested too deeply');
  });

  it('that are not clicks become dead letters', () => {
    for (const value of [null, '', 'garbage', 7, ['a'], '"quoted"'])
      expect(read({ value }), JSON.stringify(value)).toMatchObject({ is: 'unreadable', from: click.from });
    expect(read({ key: '' })).toMatchObject({ is: 'click', from: null });
  });

  it.each([
    [{}, 'f: messages: expected the messages of a Kafka feed, got nothing'],
    [{ messages: ['a'] }, 'f: messages[0]: expected a message, got "a"'],
    [{ messages: [{ ...message, offset: 'a' }] }, 'f: messages[0].offset: expected a whole number, got "a"'],
    [{ messages: [{ ...message, topic: 1 }] }, 'f: messages[0].topic: expected a text, got 1'],
  ])('are refused if they have no position: %#', (given, message) => {
    expect(() => readMessages('f', given)).toThrow(message);
  });
});

describe('CloudEvents', () => {
  const attributes = { source: '/tollway/ad-server', type: 'tollway.click', id: String(record.key) };
  const event = new CloudEvent({ ...attributes, data: record.value });
  const parsed = new CloudEvent({
    ...attributes,
    datacontenttype: 'application/json',
    data: JSON.parse(String(record.value)),
  });
  const read = (headers: Record<string, string>, body: string | Buffer) =>
    readCloudEvents('f', headers, Buffer.from(body), 'request 1');
  const asHttp = ({ headers, body }: { headers: unknown; body: unknown }) =>
    read(headers as Record<string, string>, body as string);

  it.each([
    ['binary', asHttp(HTTP.binary(event))],
    ['binary, its data as JSON', asHttp(HTTP.binary(parsed))],
    ['structured', asHttp(HTTP.structured(event))],
    ['structured, its data as JSON', asHttp(HTTP.structured(parsed))],
    [
      'batched',
      read({ 'content-type': 'application/cloudevents-batch+json; charset=utf-8' }, JSON.stringify([parsed])),
    ],
  ])('are read %s, in the form that the SDK sends', (_, records) => {
    expect(records).toMatchObject([
      { is: 'click', key: record.key, from: click.from, position: `/tollway/ad-server ${record.key}` },
    ]);
  });

  it('are identified by the key of their Kafka record if their id is a different one', () => {
    const headers = {
      'ce-specversion': '1.0',
      'ce-type': 'dev.knative.kafka.event',
      'ce-source': '/apis/v1/namespaces/default/kafkasources/clicks#tollway-clicks',
      'ce-id': 'partition:0/offset:564',
    };
    expect(read({ ...headers, 'ce-key': String(record.key) }, String(record.value))).toMatchObject([
      { is: 'click', from: click.from, key: record.key },
    ]);
    expect(read(headers, String(record.value))).toMatchObject([
      { is: 'click', from: null, key: headers['ce-id'] },
    ]);
    const watermark = new TestSpool().watermark();
    expect(read({ ...headers, 'ce-key': String(watermark.key) }, String(watermark.value))).toMatchObject([
      { is: 'watermark' },
    ]);
  });

  it.each(['id', 'source', 'type', 'specversion'])(
    'without %s are kept with their bytes and an error that names the attribute',
    (name) => {
      const { headers, body } = HTTP.binary(event) as { headers: Record<string, string>; body: Buffer };
      const { [`ce-${name}`]: _, ...rest } = headers;
      if (name !== 'specversion') {
        const [found] = read(rest, body);
        expect(found).toMatchObject({ is: 'unreadable', value: record.value, position: 'request 1' });
        expect(detailOf(found)).toBe(`Expected a text in header ce-${name} of the CloudEvent, got nothing`);
      }
      const { [name]: __, ...structured } = parsed.toJSON() as Record<string, unknown>;
      const text = JSON.stringify(structured);
      const [other] = read({ 'content-type': 'application/cloudevents+json' }, text);
      expect(other).toMatchObject({ is: 'unreadable', value: Buffer.from(text) });
      expect(detailOf(other)).toBe(`Expected a text in ${name} of the CloudEvent, got nothing`);
    },
  );

  it('in a batch are read separately', () => {
    const { id: _, ...nameless } = parsed.toJSON() as Record<string, unknown>;
    const body = JSON.stringify([
      nameless,
      parsed,
      7,
      { ...parsed.toJSON(), data: undefined, data_base64: '%' },
    ]);
    const records = read({ 'content-type': 'application/cloudevents-batch+json' }, body);
    expect(records.map(({ is }) => is)).toEqual(['unreadable', 'click', 'unreadable', 'unreadable']);
    expect(detailOf(records[3])).toMatch(/^Expected base64 in data_base64/);
    expect(new Set(records.map(({ position }) => position)).size).toBe(3);
  });

  it('can begin with a byte order mark', () => {
    const records = read(
      { 'content-type': 'application/cloudevents+json' },
      `\ufeff${JSON.stringify(parsed.toJSON())}`,
    );
    expect(records).toMatchObject([{ is: 'click', from: click.from }]);
    const { headers } = HTTP.binary(event) as { headers: Record<string, string> };
    expect(read(headers, `\ufeff${String(record.value)}`)).toMatchObject([{ is: 'click' }]);
  });

  it('in a batch do not affect others if they are deeply nested, very large or damaged', () => {
    const good = JSON.stringify(parsed);
    const { data: _, ...empty } = parsed.toJSON() as Record<string, unknown>;
    const deep = JSON.stringify(empty).replace(/}$/, `,"data":${'['.repeat(20_000)}${']'.repeat(20_000)}}`);
    const deepBase64 = deep.replace('"data":', '"data_base64":');
    const large = JSON.stringify({ ...empty, data: 'x'.repeat(1_000_000) });
    const damaged = good.replace('"specversion":', '"specversion"');
    const bad = [deep, deepBase64, large, damaged];
    const body = `[${[good, ...bad.flatMap((event) => [event, good])].join(' ,\n')}]`;
    const records = read({ 'content-type': 'application/cloudevents-batch+json' }, body);
    expect(records.map(({ is }) => is)).toEqual(['click', ...bad.flatMap(() => ['unreadable', 'click'])]);
    expect([1, 5, 7].map((index) => detailOf(records[index]))).toEqual([
      `Expected at most 8192 bytes, got ${deep.length}`,
      `Expected a CloudEvent of at most 65536 bytes, got ${large.length}`,
      `Expected JSON, got ${damaged.length} bytes of other data`,
    ]);
    // The sequence of a readable event is settled, and its bytes are kept.
    expect(records[1]).toMatchObject({ from: click.from, value: Buffer.from(deep) });
    expect(records[3]).toMatchObject({ from: click.from });
    expect(records[5]?.value).toEqual(Buffer.from(large).subarray(0, 65_536));
    expect(records[7]?.value).toEqual(Buffer.from(damaged));
  });

  it('in a batch are limited in number, and a batch without events is kept once', () => {
    const headers = { 'content-type': 'application/cloudevents-batch+json' };
    const zeros = (count: number) => `[${Array(count).fill('0').join(',')}]`;
    expect(() => read(headers, zeros(264_000))).toThrow(
      'f: expected at most 10000 events in a request, got more; send fewer',
    );
    const records = read(headers, zeros(10_000));
    expect(records.map(detailOf)).toEqual(['Expected a list of CloudEvents, got a list without any']);
    expect(read(headers, '[]')).toEqual([]);
    expect(read(headers, '{}').map(detailOf)).toEqual(['Expected a list of CloudEvents']);
  });

  it.each([
    'application/cloudevents+xml',
    'application/cloudevents+avro',
    'application/cloudevents+protobuf',
    'application/cloudevents-batch+xml',
    'application/cloudevents',
    'application/cloudevents+json; charset=utf-16',
  ])('as %s are refused', (type) => {
    expect(() => read({ 'content-type': type, 'ce-specversion': '1.0' }, '<event/>')).toThrow(
      `f: content-type: expected application/cloudevents+json or application/cloudevents-batch+json, in UTF-8, got "${type}"`,
    );
  });

  it('that are not JSON are kept with their bytes', () => {
    const [found] = read({ 'content-type': 'application/cloudevents+json' }, '{"id":');
    expect(found).toMatchObject({ is: 'unreadable', value: Buffer.from('{"id":') });
  });

  it('without the attributes of a CloudEvent are refused', () => {
    expect(() => read({ 'content-type': 'application/json' }, '{}')).toThrow(
      'f: ce-specversion: expected the header of a CloudEvent, or the content type application/cloudevents+json, got nothing',
    );
  });
});

describe('an S3 event', () => {
  const event = {
    Records: [
      {
        eventVersion: '2.1',
        eventSource: 'aws:s3',
        eventName: 'ObjectCreated:Put',
        s3: { bucket: { name: 'files' }, object: { key: 'clicks+of+%C3%9Cber%2B1.ndjson.gz', eTag: 'e' } },
      },
    ],
  };

  it('has the names of the created objects', () => {
    expect(readS3Event('f', event)).toEqual([{ bucket: 'files', key: 'clicks of Über+1.ndjson.gz' }]);
    const versioned = changed(event, ['Records', 0, 's3', 'object', 'versionId'], 'v1');
    expect(readS3Event('f', versioned)).toMatchObject([{ bucket: 'files', versionId: 'v1' }]);
    expect(readS3Event('f', { Service: 'Amazon S3', Event: 's3:TestEvent', Bucket: 'files' })).toEqual([]);
  });

  it.each([
    [{}, 'f: Records: expected the event notification of an S3 bucket, got an empty object'],
    [
      { Records: [{ eventSource: 'aws:sqs' }] },
      'f: Records[0].eventSource: expected "aws:s3", got "aws:sqs"',
    ],
    [
      changed(event, ['Records', 0, 'eventName'], 'ObjectRemoved:Delete'),
      'f: Records[0].eventName: expected "ObjectCreated:…", got "ObjectRemoved:Delete"',
    ],
    [changed(event, ['Records', 0, 's3'], {}), 'f: Records[0].s3.bucket.name: expected a text, got nothing'],
    [
      changed(event, ['Records', 0, 's3', 'object'], {}),
      'f: Records[0].s3.object.key: expected a text, got nothing',
    ],
  ])('is refused if it has no object: %#', (given, message) => {
    expect(() => readS3Event('f', given)).toThrow(message);
  });
});
