import { traceBatch } from '../common/telemetry/tracing.ts';
import { encodedTraceparent } from '../contract/click-event.ts';
import type { Publisher } from './publisher.ts';

/** Wraps a publisher: each call of `publish` with a sampled click becomes a span. `system` is the name of the broker. */
export function tracePublisher(publisher: Publisher, system: string): Publisher {
  const span = {
    name: 'publish clicks',
    kind: 'producer',
    attributes: { 'messaging.system': system, 'messaging.operation.type': 'send' },
  } as const;
  return {
    publish: (records) =>
      traceBatch(
        span,
        () => records.map(({ value }) => (value === null ? null : encodedTraceparent(value))),
        () => publisher.publish(records),
        (refused) => ({ 'tollway.clicks.refused': refused.length }),
      ),
    publishEverywhere: (record) => publisher.publishEverywhere(record),
    close: () => publisher.close(),
  };
}
