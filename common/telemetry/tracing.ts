/*
 * Spans of clicks, through the API of OpenTelemetry. Without an SDK in the process no span is started: see docs/tracing.md. Errors of an SDK
 * go to the logger of OpenTelemetry (`diag`) and change nothing for a click.
 */
import {
  type Attributes,
  context,
  diag,
  isSpanContextValid,
  ProxyTracerProvider,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api';
import { withDeadline } from '../deadline.ts';
import { isSampled, isTraceparent, readTraceparent } from './traceparent.ts';

const TRACER = 'tollway';
/** Most links of a span: the default limit of the SDKs. https://opentelemetry.io/docs/specs/otel/trace/sdk/#span-limits */
const LINKS_MAX = 128;
/** Longest wait for the last spans at the end of a process, in ms. */
const FLUSH_MS_MAX = 1_000;

/** The part of a click's trace that belongs to the redirect. */
export type RedirectTrace = {
  /** The `traceparent` of the click event, or `null`. */
  readonly traceparent: string | null;
  /** Ends the span: whether the click was recorded, and why it is invalid. */
  readonly end: (recorded: boolean, invalid: string | null) => void;
};

const doNothing = () => {};
const UNTRACED: RedirectTrace = { traceparent: null, end: doNothing };

/**
 * Starts the span of a redirect. Without an SDK it starts none, and a valid header is passed on as it is. With one, the event carries the new
 * span: always if the request has a valid header, else only if the span is sampled.
 */
export function traceRedirect(header: unknown, clickId: string, adId: number): RedirectTrace {
  const incoming = header === undefined ? null : readTraceparent(header);
  const tracer = activeTracer();
  const untraced = incoming === null ? UNTRACED : { traceparent: incoming, end: doNothing };
  if (tracer === null) return untraced;
  return safely(() => startRedirect(tracer, incoming, clickId, adId)) ?? untraced;
}

function startRedirect(
  tracer: Tracer,
  incoming: string | null,
  clickId: string,
  adId: number,
): RedirectTrace {
  // A span that an instrumentation of HTTP has started for this request has the header as its parent already.
  const hasActive = trace.getSpan(context.active()) !== undefined;
  const parent =
    incoming === null || hasActive
      ? context.active()
      : trace.setSpanContext(context.active(), spanContextOf(incoming));
  const attributes = { 'tollway.click.id': clickId, 'tollway.ad.id': adId };
  const kind = hasActive ? SpanKind.INTERNAL : SpanKind.SERVER;
  const span = tracer.startSpan('redirect', { kind, attributes }, parent);
  const own = traceparentOf(span.spanContext());
  return {
    traceparent: own !== null && (incoming !== null || isSampled(own)) ? own : incoming,
    end: (recorded, invalid) => {
      safely(() => {
        span.setAttribute('tollway.click.recorded', recorded);
        if (invalid !== null) span.setAttribute('tollway.click.invalid', invalid);
        if (!recorded) span.setStatus({ code: SpanStatusCode.ERROR, message: 'The click was not recorded' });
        span.end();
      });
    },
  };
}

/** What the span of a batch says about itself. */
export type BatchSpan = {
  readonly name: string;
  readonly kind: 'producer' | 'consumer';
  readonly attributes: Attributes;
};

/**
 * Runs `work` for a batch of records in a span, if an SDK is on and a click of the batch is sampled. The span is a child of the first such
 * click and has links to all of them, at most `LINKS_MAX`. `traceparents` and `describe` are called only if they are needed. Throws what
 * `work` throws.
 */
export async function traceBatch<T>(
  batchSpan: BatchSpan,
  traceparents: () => readonly (string | null | undefined)[],
  work: () => Promise<T>,
  describe: (result: T) => Attributes = () => ({}),
): Promise<T> {
  const tracer = activeTracer();
  if (tracer === null) return work();
  const span = safely(() => startBatch(tracer, batchSpan, traceparents()));
  if (span === null) return work();
  try {
    // The statements of `work` become children of the span if the SDK instruments the database driver.
    const result = await context.with(trace.setSpan(context.active(), span), work);
    safely(() => span.setAttributes(describe(result)));
    return result;
  } catch (error) {
    safely(() => {
      span.recordException(error instanceof Error ? error : String(error));
      span.setStatus({ code: SpanStatusCode.ERROR });
    });
    throw error;
  } finally {
    safely(() => span.end());
  }
}

/** Starts the span of a batch; `null` if none of its clicks is sampled. */
function startBatch(
  tracer: Tracer,
  { name, kind, attributes }: BatchSpan,
  traceparents: readonly (string | null | undefined)[],
): Span | null {
  const sampled = traceparents.flatMap((text) => (text && isSampled(text) ? spanContextOf(text) : []));
  const [first] = sampled;
  if (first === undefined) return null;
  // For example the span of the invocation of a function.
  const active = trace.getSpanContext(context.active());
  const linked = active !== undefined && isSpanContextValid(active) ? [active, ...sampled] : sampled;
  return tracer.startSpan(
    name,
    {
      kind: kind === 'producer' ? SpanKind.PRODUCER : SpanKind.CONSUMER,
      attributes: {
        ...attributes,
        'messaging.batch.message_count': traceparents.length,
        'tollway.clicks.sampled': sampled.length,
      },
      links: linked.slice(0, LINKS_MAX).map((spanContext) => ({ context: spanContext })),
    },
    trace.setSpanContext(context.active(), first),
  );
}

type SdkProvider = TracerProvider & {
  /** Only a proxy has it. */
  readonly getDelegate?: () => TracerProvider;
  readonly forceFlush?: () => Promise<void>;
};

/** Has the SDK send the spans that it holds, for the end of a process. Waits at most `FLUSH_MS_MAX`, and never throws. */
export async function flushTraces(): Promise<void> {
  let sdk: SdkProvider = trace.getTracerProvider();
  // An SDK with a copy of the API of its own has registered a proxy of another class than ours.
  while (sdk.getDelegate !== undefined) sdk = sdk.getDelegate();
  // The API has no such method, but every SDK has: https://opentelemetry.io/docs/specs/otel/trace/sdk/#forceflush
  if (typeof sdk.forceFlush !== 'function') return;
  try {
    await withDeadline(sdk.forceFlush(), FLUSH_MS_MAX, 'The exporter of spans');
  } catch (error) {
    diag.error('tollway: the last spans were not sent', error);
  }
}

/** The tracer of the SDK in this process, or `null` if there is none. */
function activeTracer(): Tracer | null {
  const provider = trace.getTracerProvider();
  if (!(provider instanceof ProxyTracerProvider)) return provider.getTracer(TRACER);
  return provider.getDelegateTracer(TRACER) ?? null;
}

/** The span that a valid `traceparent` names. */
function spanContextOf(traceparent: string): SpanContext {
  return {
    traceId: traceparent.slice(3, 35),
    spanId: traceparent.slice(36, 52),
    traceFlags: Number.parseInt(traceparent.slice(53), 16),
    isRemote: true,
  };
}

function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string | null {
  const text = `00-${traceId}-${spanId}-${(traceFlags & 0xff).toString(16).padStart(2, '0')}`;
  return isTraceparent(text) ? text : null;
}

/** Calls an SDK. Its errors must not affect a click: they are logged, and the result is `null`. */
function safely<T>(call: () => T): T | null {
  try {
    return call();
  } catch (error) {
    diag.error('tollway: a span failed', error);
    return null;
  }
}
