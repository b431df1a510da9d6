import { diag, type Span, type TracerProvider, trace } from '@opentelemetry/api';
import {
  AlwaysOffSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  InMemorySpanExporter,
  ParentBasedSampler,
  type Sampler,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { flushTraces } from '../../common/telemetry/tracing.ts';
import { CHROME, redirectFixture } from '../support/redirect-fixture.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const INCOMING = `00-${TRACE}-00f067aa0ba902b7-01`;

afterEach(() => {
  trace.disable();
  diag.disable();
});

/** Switches an SDK on, as a program that `node --import` loads does. */
function useSdk(sampler?: Sampler): InMemorySpanExporter {
  const exporter = new InMemorySpanExporter();
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({
      ...(sampler ? { sampler } : {}),
      spanProcessors: [new SimpleSpanProcessor(exporter)],
    }),
  );
  return exporter;
}

/** The click of a visitor who sends a header `traceparent`. */
function click(traceparent?: string) {
  const fixture = redirectFixture();
  fixture.send({ headers: { 'user-agent': CHROME, ...(traceparent === undefined ? {} : { traceparent }) } });
  return { event: fixture.take(), answer: fixture.answers[0] };
}

describe('a click without an SDK', () => {
  it('has no trace if the visitor sends none', () => {
    expect(click().event).not.toHaveProperty('traceparent');
  });

  it('has the trace that the visitor sends, unchanged', () => {
    expect(click(INCOMING).event.traceparent).toBe(INCOMING);
  });

  it.each([
    '',
    'x'.repeat(10_000),
    `${INCOMING}"}`,
    `${INCOMING}, ${INCOMING}`,
    INCOMING.replace(/[1-9a-f]/g, '0'),
  ])('is recorded without a trace if the header is "%.60s"', (hostile) => {
    const { answer, event } = click(hostile);
    expect(event).not.toHaveProperty('traceparent');
    expect(answer).toMatchObject({ is: 'redirect', clickId: event.clickId });
  });
});

describe('a click with an SDK', () => {
  it('begins a trace, and its event has the span of the redirect', () => {
    const exporter = useSdk();
    const { clickId, traceparent } = click().event;
    const [span] = exporter.getFinishedSpans();
    expect(span).toMatchObject({
      name: 'redirect',
      attributes: { 'tollway.click.id': clickId, 'tollway.ad.id': 42, 'tollway.click.recorded': true },
    });
    expect(span?.parentSpanContext).toBeUndefined();
    const { traceId, spanId } = span?.spanContext() ?? {};
    expect(traceparent).toBe(`00-${traceId}-${spanId}-01`);
  });

  it('continues the trace that the visitor sends', () => {
    const exporter = useSdk();
    const { traceparent } = click(INCOMING).event;
    const [span] = exporter.getFinishedSpans();
    expect(span?.parentSpanContext).toMatchObject({ traceId: TRACE, spanId: '00f067aa0ba902b7' });
    expect(traceparent).toBe(`00-${TRACE}-${span?.spanContext().spanId}-01`);
  });

  it('has no trace of its own if the SDK does not sample it', () => {
    const exporter = useSdk(new AlwaysOffSampler());
    expect(click().event).not.toHaveProperty('traceparent');
    expect(exporter.getFinishedSpans()).toEqual([]);
  });

  it('passes on a trace that is not sampled as not sampled', () => {
    useSdk(new ParentBasedSampler({ root: new AlwaysOffSampler() }));
    expect(click(INCOMING.replace(/01$/, '00')).event.traceparent).toMatch(new RegExp(`^00-${TRACE}-.*-00$`));
  });

  it('that the spool refuses has a span with an error', () => {
    const exporter = useSdk();
    const fixture = redirectFixture();
    fixture.send();
    fixture.refuse();
    const [span] = exporter.getFinishedSpans();
    expect(span).toMatchObject({ attributes: { 'tollway.click.recorded': false }, status: { code: 2 } });
  });

  it('that is invalid has the reason in its span', () => {
    const exporter = useSdk();
    const fixture = redirectFixture();
    fixture.send({ headers: { 'user-agent': 'Googlebot/2.1' } });
    fixture.take();
    expect(exporter.getFinishedSpans()[0]?.attributes).toMatchObject({ 'tollway.click.invalid': 'bot' });
  });
});

describe('an SDK that fails', () => {
  const failing = () => {
    throw new Error('the SDK is broken');
  };

  it('when a span starts, loses no click and is reported to the logger of OpenTelemetry', () => {
    const error = vi.fn();
    diag.setLogger({ error, warn: vi.fn(), info: vi.fn(), debug: vi.fn(), verbose: vi.fn() });
    trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan: failing, startActiveSpan: failing }) });
    const { answer, event } = click(INCOMING);
    expect(answer).toMatchObject({ is: 'redirect', clickId: event.clickId });
    expect(event.traceparent).toBe(INCOMING);
    expect(error).toHaveBeenCalledWith('tollway: a span failed', expect.any(Error));
  });

  it('when a span ends, loses no click', () => {
    useSdk();
    const provider = trace.getTracerProvider();
    const broken: TracerProvider = {
      getTracer: (name) => {
        const tracer = provider.getTracer(name);
        const startSpan: typeof tracer.startSpan = (...given) => {
          const span: Span = tracer.startSpan(...given);
          return Object.assign(span, { end: failing });
        };
        return Object.assign(Object.create(tracer), { startSpan });
      },
    };
    trace.disable();
    trace.setGlobalTracerProvider(broken);
    const { answer, event } = click();
    expect(answer).toMatchObject({ is: 'redirect', clickId: event.clickId });
  });
});

/** The proxy that another copy of OpenTelemetry's API puts in front of an SDK. */
function otherProxy(sdk: TracerProvider): TracerProvider {
  return Object.assign({}, { getTracer: (name: string) => sdk.getTracer(name), getDelegate: () => sdk });
}

describe('at the end of a process', () => {
  it.each([
    ['the same copy', (provider: TracerProvider) => provider],
    ['a copy of its own', (provider: TracerProvider) => otherProxy(provider)],
  ])('an SDK with %s of the API sends the spans that it holds', async (_, register) => {
    const exporter = new InMemorySpanExporter();
    const batches = new BatchSpanProcessor(exporter, { scheduledDelayMillis: 60_000 });
    trace.setGlobalTracerProvider(register(new BasicTracerProvider({ spanProcessors: [batches] })));
    click();
    expect(exporter.getFinishedSpans()).toEqual([]);
    await flushTraces();
    expect(exporter.getFinishedSpans()).toHaveLength(1);
  });

  it('an exporter that fails or hangs does not stop it', async () => {
    await flushTraces();
    const reject = () => Promise.reject(new Error('no collector'));
    const hang = () => new Promise<void>(() => {});
    for (const forceFlush of [reject, hang]) {
      trace.disable();
      trace.setGlobalTracerProvider(Object.assign(new BasicTracerProvider(), { forceFlush }));
      const startedAt = performance.now();
      await flushTraces();
      expect(performance.now() - startedAt).toBeLessThan(3_000);
    }
  });
});
