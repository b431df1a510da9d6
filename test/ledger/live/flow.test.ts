import { describe, expect, it } from 'vitest';
import { type FlowSources, LiveFlow } from '../../../ledger/live/flow.ts';
import { type Component, parseNumbers } from '../../../ledger/operations/part-numbers.ts';
import type { Part } from '../../../ledger/operations/parts.ts';

/** A part that answers, with these numbers. */
function part(component: Component, numbers: object, more: Partial<Part> = {}): Part {
  const times = { startedAt: new Date(0), reportedAt: new Date(1) };
  const state = { state: 'ready', version: '0', problems: [], warnings: [], ...times };
  // The cast is safe: the numbers are parsed as those of the component.
  return {
    component,
    instance: component,
    ...state,
    numbers: parseNumbers[component](numbers),
    ...more,
  } as Part;
}

const NOTHING: FlowSources = {
  ...{ settled: 0, watermark: 0, parts: [], waiting: null, clickToChargeSeconds: null },
};

describe('the flow', () => {
  it('adds what waits in the broker and in the spools to what is settled', () => {
    const parts = [
      part('ad-server', { accepted: 150, relayed: 120, spoolOldestSeconds: 4 }),
      part('processor', { lagOldestSeconds: 9, clickToChargeP50Seconds: 0.5, settledPerSecond: 10 }),
    ];
    const waiting = { records: 20, oldestSeconds: 2 };
    expect(new LiveFlow().next({ ...NOTHING, settled: 1_000, waiting, parts })).toEqual({
      ...{ accepted: 1_050, relayed: 1_020, settled: 1_000 },
      ...{ spoolOldestSeconds: 4, brokerOldestSeconds: 2, clickToChargeSeconds: 0.5 },
    });
  });

  it('knows the backlog of another broker from the processors', () => {
    const partitions = [
      { broker: 'kafka', partition: '0', records: 7, oldestAgeSeconds: 3, isAssigned: true },
    ];
    const parts = [part('processor', { lagRecords: 7, lagOldestSeconds: 3, partitions })];
    const flow = new LiveFlow().next({ ...NOTHING, settled: 10, parts });
    expect(flow).toMatchObject({ relayed: 17, brokerOldestSeconds: 3 });
  });

  it('grows by what ad servers relay while no processor answers', () => {
    const flow = new LiveFlow();
    const next = (relayed: number, more: Partial<Part> = {}) =>
      flow.next({
        ...{ ...NOTHING, settled: 100, watermark: 90 },
        parts: [part('ad-server', { accepted: relayed, relayed }, more)],
      }).relayed;
    expect([next(40), next(45), next(65)]).toEqual([100, 105, 125]);
    // A new process counts from 0.
    expect(next(5, { startedAt: new Date(9) })).toBe(125);
    expect(next(8, { startedAt: new Date(9) })).toBe(128);
  });

  it('never has more relayed than accepted clicks, as when the spool of a dead process is relayed', () => {
    const parts = [part('ad-server', { accepted: 5, relayed: 500 })];
    const flow = new LiveFlow().next({ ...NOTHING, settled: 9, watermark: 20, parts });
    expect(flow).toMatchObject({ accepted: 20, relayed: 20 });
  });

  it('does not know ages without parts, and uses the delay of the latest clicks', () => {
    expect(new LiveFlow().next({ ...NOTHING, watermark: 5, settled: 4, clickToChargeSeconds: 1 })).toEqual({
      ...{ accepted: 5, relayed: 5, settled: 4 },
      ...{ spoolOldestSeconds: null, brokerOldestSeconds: null, clickToChargeSeconds: 1 },
    });
  });
});
