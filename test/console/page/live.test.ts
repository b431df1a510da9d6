import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type * as Live from '../../../console/page/live.ts';

/** What a browser gives the page, as far as the live numbers use it. */
class Stream {
  static opened: Stream[] = [];
  isClosed = false;
  private readonly listeners = new Map<string, (event: { data: string }) => void>();

  constructor() {
    Stream.opened.push(this);
  }

  addEventListener(name: string, listener: (event: { data: string }) => void) {
    this.listeners.set(name, listener);
  }

  close() {
    this.isClosed = true;
  }

  send(name: string, data: unknown = null) {
    this.listeners.get(name)?.({ data: JSON.stringify(data) });
  }
}
const tab = { hidden: false, show: () => {} };
let fromOtherTab = () => {};
let answer = () => Promise.resolve(Response.json({}, { status: 500 }));
let live: typeof Live;
let stop: () => void;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval', 'performance'] });
  Stream.opened = [];
  tab.hidden = false;
  vi.stubGlobal('EventSource', Stream);
  vi.stubGlobal(
    'BroadcastChannel',
    class {
      set onmessage(listener: () => void) {
        fromOtherTab = listener;
      }
      postMessage() {}
      close() {}
    },
  );
  vi.stubGlobal('document', {
    get hidden() {
      return tab.hidden;
    },
    addEventListener: (_: string, listener: () => void) => {
      tab.show = () => {
        tab.hidden = false;
        listener();
      };
    },
    removeEventListener: () => {},
  });
  vi.stubGlobal('fetch', () => answer());
  live = await import('../../../console/page/live.ts');
  stop = live.listenLive();
});
afterEach(() => {
  stop();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const latest = () => Stream.opened.at(-1) ?? expect.unreachable('no stream');
const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second)).toISOString();
const unix = (second: number) => Date.parse(at(second)) / 1_000;
const clicks = (from: number, to: number, charged: number) =>
  latest().send('clicks', { from: at(from), asOf: at(to), charged, overBudget: 0, invalid: 0, rejected: 0 });
const giveUp = () => {
  tab.hidden = true;
  fromOtherTab();
};
/** The stream breaks, and the console answers the question why. */
const breakStream = async (status: number, code: string) => {
  answer = () => Promise.resolve(Response.json({ code, detail: 'The reason' }, { status }));
  latest().send('error');
  await vi.waitFor(() => expect(live.refusal.value?.code ?? null).toBe(code));
};

describe('the live numbers of the page', () => {
  it('are given up by a hidden tab for another one, and come again when it is shown', () => {
    expect(live.connection.value).toBe('connecting');
    clicks(0, 1, 5);
    expect(live.connection.value).toBe('live');
    fromOtherTab();
    expect(latest().isClosed, 'a tab that is shown').toBe(false);
    giveUp();
    expect(latest().isClosed).toBe(true);
    expect(live.connection.value, 'not that the console is away').toBe('connecting');
    vi.advanceTimersByTime(60_000);
    expect(Stream.opened).toHaveLength(1);
    tab.show();
    expect(Stream.opened).toHaveLength(2);
    clicks(60, 61, 1);
    expect(live.connection.value).toBe('live');
  });

  it('do not tell how many clicks were settled since a time that the page has not followed without a gap', () => {
    expect(live.settledSince(unix(0))).toBeNull();
    clicks(0, 1, 5);
    clicks(1, 2, 5);
    latest().send('alive', { asOf: at(3) });
    expect(live.settledSince(unix(0))).toEqual([10, 0, 0, 0]);
    giveUp();
    tab.show();
    clicks(3, 4, 1);
    expect(live.settledSince(unix(0)), 'nothing is missing').toEqual([11, 0, 0, 0]);
    giveUp();
    tab.show();
    clicks(9, 10, 1);
    expect(live.settledSince(unix(0))).toBeNull();
    expect(live.settledSince(unix(9))).toEqual([1, 0, 0, 0]);
  });

  it('are late, not without a console, while the database does not answer a new stream', async () => {
    clicks(0, 1, 5);
    await breakStream(503, 'database_away');
    expect(live.connection.value).toBe('late');
    vi.advanceTimersByTime(2_000);
    expect(Stream.opened).toHaveLength(2);
    latest().send('stale', {});
    vi.advanceTimersByTime(5_000);
    expect(live.connection.value).toBe('late');
    clicks(1, 2, 5);
    expect(live.connection.value).toBe('live');
  });

  it('are refused while the console allows no more streams, until it does', async () => {
    await breakStream(503, 'busy');
    expect(live.connection.value).toBe('refused');
    vi.advanceTimersByTime(2_000);
    latest().send('stale', {});
    expect(live.connection.value, 'without numbers').toBe('connecting');
  });

  it('are gone after a log-out: the next login may not see them', async () => {
    clicks(0, 1, 5);
    latest().send('latest', [{ clickId: 'of another' }]);
    latest().send('budgets', [{ advertiserId: 1 }]);
    for (const name of ['flow', 'reasons', 'top', 'books', 'problems', 'health']) latest().send(name, {});
    let end = (_: Response) => {};
    answer = () => new Promise((resolve) => (end = resolve));
    latest().send('error');
    stop();
    // The answer to a question of the session before.
    end(Response.json({ code: 'busy', detail: 'Too many' }, { status: 503 }));
    await vi.advanceTimersByTimeAsync(10_000);
    expect(Stream.opened).toHaveLength(1);
    stop = live.listenLive();
    const { latest: rows, flow, reasons, top, books, problems, health, refusal, heardAt } = live;
    for (const one of [rows, flow, reasons, top, books, problems, health, refusal, heardAt])
      expect(one.value).toBeNull();
    expect([live.seconds.value, [...live.budgets.value]]).toEqual([[], []]);
    expect(live.connection.value).toBe('connecting');
    expect(live.settledSince(unix(0))).toBeNull();
  });
});
