import { setTimeout as sleep } from 'node:timers/promises';
import { SpanKind, trace } from '@opentelemetry/api';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readChunk } from '../../brokers/postgres/chunk.ts';
import { createPostgresPublisher } from '../../brokers/postgres/publisher.ts';
import { tracePublisher } from '../../brokers/traced-publisher.ts';
import type { ReadRecord } from '../../contract/click-event.ts';
import { chargeClicks } from '../../processor/charge/charge-clicks.ts';
import { addAccount, testDatabase } from '../support/database.ts';
import { clickRecord } from '../support/records.ts';
import { redirectFixture, sampleAd } from '../support/redirect-fixture.ts';
import { FakeBroker, startRelay } from '../support/relay-fixture.ts';
import { append, openSpool } from '../support/spool-fixture.ts';
import { until } from '../support/until.ts';

const database = testDatabase();
const exporter = new InMemorySpanExporter();

beforeAll(() => {
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  trace.setGlobalTracerProvider(provider);
});
afterAll(() => trace.disable());
beforeEach(() => exporter.reset());

const charge = (records: readonly ReadRecord[]) =>
  chargeClicks(database.pool, records, { clickAgeMaxDays: 14 });
const spans = (name: string): ReadableSpan[] =>
  exporter.getFinishedSpans().filter((span) => span.name === name);
const linksOf = (span: ReadableSpan | undefined) => span?.links.map(({ context }) => context.spanId);

let count = 0;
/** A `traceparent` with a span id of its own. */
function newTrace(sampled: boolean): { traceparent: string; spanId: string } {
  count += 1;
  const spanId = count.toString(16).padStart(16, '0');
  return { traceparent: `00-4bf92f3577b34da6a3ce929d0e0e4736-${spanId}-${sampled ? '01' : '00'}`, spanId };
}

describe('the trace of a click', () => {
  it('goes from the redirect over the publication to the transaction of its ledger row', async () => {
    const { ad } = await addAccount(database.pool);
    const { id, campaignId, advertiserId } = ad;
    const fixture = redirectFixture({ ad: sampleAd({ id, campaignId, advertiserId, priceMicros: 250_000 }) });
    fixture.send();
    const encoded = fixture.waiting[0]?.encoded ?? '';
    const { clickId } = fixture.take();
    const spool = openSpool();
    await append(spool, [encoded]);
    startRelay(spool, tracePublisher(createPostgresPublisher(database.pool), 'postgres'));
    const chunks = () => database.pool.query<{ id: bigint; payload: Buffer }>('select * from broker_chunk');
    await until('the click to be published', () => spans('publish clicks').length === 1);
    const { rows } = await chunks();
    const records = rows.flatMap((row) => readChunk(row.id, row.payload));
    const { outcomes } = await charge(records);
    expect(outcomes).toContainEqual({ outcome: 'charged', reason: null });

    const [redirect] = spans('redirect');
    const [publish] = spans('publish clicks');
    const [charged] = spans('charge clicks');
    if (redirect === undefined) throw new Error('Expected a span of the redirect, got none');
    const { traceId, spanId } = redirect.spanContext();
    expect(redirect.attributes['tollway.click.id']).toBe(clickId);
    for (const span of [publish, charged]) {
      expect(span?.spanContext().traceId).toBe(traceId);
      expect(span?.parentSpanContext?.spanId).toBe(spanId);
      expect(linksOf(span)).toEqual([spanId]);
    }
    expect(publish).toMatchObject({
      kind: SpanKind.PRODUCER,
      attributes: { 'messaging.system': 'postgres' },
    });
    expect(charged).toMatchObject({ kind: SpanKind.CONSUMER, attributes: { 'tollway.clicks.charged': 1 } });
  });
});

describe('the span of a charge', () => {
  it('links to every sampled click of its batch, and to no other', async () => {
    const { ad } = await addAccount(database.pool);
    const traces = [newTrace(true), newTrace(false), newTrace(true)];
    const records = traces.map(({ traceparent }) => clickRecord({ ad, traceparent }));
    await charge([...records, clickRecord({ ad })]);
    const [span] = spans('charge clicks');
    expect(linksOf(span)).toEqual([traces[0]?.spanId, traces[2]?.spanId]);
    expect(span?.attributes).toMatchObject({
      'messaging.batch.message_count': 4,
      'tollway.clicks.sampled': 2,
      'tollway.clicks.charged': 4,
    });
  });

  it('is not made for a batch without a sampled click', async () => {
    const { ad } = await addAccount(database.pool);
    await charge([clickRecord({ ad }), clickRecord({ ad, traceparent: newTrace(false).traceparent })]);
    expect(exporter.getFinishedSpans()).toEqual([]);
  });

  it('has at most 128 links', async () => {
    const { ad } = await addAccount(database.pool);
    const records = Array.from({ length: 200 }, () =>
      clickRecord({ ad, traceparent: newTrace(true).traceparent }),
    );
    await charge(records);
    const [span] = spans('charge clicks');
    expect(span?.links).toHaveLength(128);
    expect(span?.droppedLinksCount).toBe(0);
    expect(span?.attributes['tollway.clicks.sampled']).toBe(200);
  });

  it('lasts from before the transaction until after its commit, and has the error of a failed one', async () => {
    const { ad } = await addAccount(database.pool);
    const { traceparent } = newTrace(true);
    const broken = { connect: () => sleep(30).then(() => Promise.reject(new Error('no database'))) };
    // A pool whose connections fail: only `connect` is used before the transaction.
    const pool = Object.assign(Object.create(database.pool), broken) as typeof database.pool;
    const charging = chargeClicks(pool, [clickRecord({ ad, traceparent })], { clickAgeMaxDays: 14 });
    await expect(charging).rejects.toThrow('no database');
    const [span] = spans('charge clicks');
    expect(span).toMatchObject({ status: { code: 2 }, ended: true });
    expect(span?.events[0]?.attributes).toMatchObject({ 'exception.message': 'no database' });
    const [seconds = 0, nanos = 0] = span?.duration ?? [];
    expect(seconds * 1_000 + nanos / 1e6).toBeGreaterThan(20);
  });
});

describe('the span of a publication', () => {
  it('has an error if the broker fails, and the next attempt has a span of its own', async () => {
    const broker = new FakeBroker();
    broker.before = () => {
      if (broker.attempts === 1) throw new Error('no broker');
    };
    const { value, key } = clickRecord({ traceparent: newTrace(true).traceparent });
    const publisher = tracePublisher(broker, 'kafka');
    await expect(publisher.publish([{ key, value }])).rejects.toThrow('no broker');
    await publisher.publish([{ key, value }]);
    expect(spans('publish clicks').map(({ status }) => status.code)).toEqual([2, 0]);
  });
});
