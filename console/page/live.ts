import { batch, computed, signal } from '@preact/signals';
import type {
  LiveBooks,
  LiveBudgetRow,
  LiveClick,
  LiveClicks,
  LiveFlow,
  LiveHealth,
  LiveProblem,
  LiveReasons,
  LiveTop,
} from '../live/live-events.ts';
import { refusalOf } from './api.ts';

export type {
  LiveBudgetRow as Budget,
  LiveClick as LatestClick,
  LiveProblem as Problem,
  LiveTop as Top,
} from '../live/live-events.ts';

/** Outcomes in the order of the chart, and of the counts of a second. */
export const OUTCOMES = ['charged', 'over_budget', 'invalid', 'rejected'] as const;

/** What was settled within about a second. */
export type Second = {
  /** When it ended, Unix time in s. */
  readonly at: number;
  /** Its length in s. */
  readonly length: number;
  /** Clicks by outcome. A redrive moves a click to another outcome, so a count can be negative. */
  readonly counts: readonly number[];
};

/** Seconds that the chart shows. */
export const CHART_SECONDS = 600;
/** Age of the last numbers from which on they count as old, in ms. */
const LATE_MS = 4_000;
/** Time between two attempts to connect, in ms. */
const RECONNECT_MS = 2_000;

const EVENTS = '/v1/events';

const isConnected = signal(false);
/** Why the console answers, but sends no numbers: too many streams are open. */
export const refusal = signal<string | null>(null);
/** When numbers came last (monotonic, ms): the console answered then, and its database did too. */
export const heardAt = signal<number | null>(null);
/** Now (monotonic, ms), once a second. */
const now = signal(performance.now());

export const seconds = signal<readonly Second[]>([]);
export const flow = signal<LiveFlow | null>(null);
export const budgets = signal<ReadonlyMap<number, LiveBudgetRow>>(new Map());
export const reasons = signal<LiveReasons | null>(null);
export const top = signal<LiveTop | null>(null);
export const latest = signal<readonly LiveClick[] | null>(null);
export const books = signal<LiveBooks>(null);
export const problems = signal<readonly LiveProblem[] | null>(null);
export const health = signal<LiveHealth | null>(null);

/** Age of the numbers, in ms; `null` before the first ones. */
export const ageMs = computed(() => (heardAt.value === null ? null : Math.max(0, now.value - heardAt.value)));

export type Connection = 'connecting' | 'live' | 'late' | 'refused' | 'disconnected';
/** Whether the numbers are those of this second. */
export const connection = computed<Connection>(() => {
  if (refusal.value !== null) return 'refused';
  if (!isConnected.value) return ageMs.value === null ? 'connecting' : 'disconnected';
  return ageMs.value !== null && ageMs.value > LATE_MS ? 'late' : 'live';
});

const listeners: Record<string, (data: never) => void> = {
  clicks: addSecond,
  // The database answered and nothing has changed.
  alive: ({ asOf }: { asOf: string }) =>
    addSecond({ from: asOf, asOf, charged: 0, overBudget: 0, invalid: 0, rejected: 0 }),
  flow: (data: LiveFlow) => set(flow, data),
  budgets: changeBudgets,
  reasons: (data: LiveReasons) => set(reasons, data),
  top: (data: LiveTop) => set(top, data),
  latest: (data: readonly LiveClick[]) => set(latest, data),
  books: (data: LiveBooks) => set(books, data),
  problems: (data: readonly LiveProblem[]) => set(problems, data),
  health: (data: LiveHealth) => set(health, data),
};

function set<T>(target: { value: T }, data: T): void {
  target.value = data;
}

/**
 * Listens to the events of the console and reconnects by itself. Returns how to stop.
 *
 * A browser has six connections to a server for all of its tabs, and a stream keeps one. So a tab that is hidden gives its stream up when
 * another one opens a stream, and opens none before it is shown.
 */
export function listenLive(): () => void {
  let source: EventSource | null = null;
  let retry: ReturnType<typeof setTimeout> | undefined;
  const otherTabs = new BroadcastChannel('tollway-live');
  const disconnect = () => {
    isConnected.value = false;
    source?.close();
    source = null;
    clearTimeout(retry);
  };
  const connect = () => {
    otherTabs.postMessage('opens');
    source = new EventSource(EVENTS);
    let isFirst = true;
    for (const [name, listener] of Object.entries(listeners))
      source.addEventListener(name, (event: MessageEvent<string>) => {
        batch(() => {
          // A new stream sends all budgets again: those that are gone meanwhile must not stay.
          if (name === 'budgets' && isFirst) {
            budgets.value = new Map();
            isFirst = false;
          }
          isConnected.value = true;
          refusal.value = null;
          heardAt.value = performance.now();
          now.value = heardAt.value;
          listener(JSON.parse(event.data) as never);
        });
      });
    // The console answers, and its database does not: the numbers get old.
    source.addEventListener('stale', () => {
      isConnected.value = true;
    });
    source.addEventListener('error', () => {
      disconnect();
      retry = setTimeout(connect, RECONNECT_MS);
      // The event does not tell whether the console is away, refuses the stream, or the session has ended, which shows the login.
      void refusalOf(EVENTS).then((error) => {
        refusal.value = error?.status === 503 && error.code === 'busy' ? error.message : null;
      });
    });
  };
  otherTabs.onmessage = () => {
    if (document.hidden) disconnect();
  };
  const connectIfShown = () => {
    if (!document.hidden && source === null) {
      clearTimeout(retry);
      connect();
    }
  };
  document.addEventListener('visibilitychange', connectIfShown);
  connectIfShown();
  const timer = setInterval(() => {
    now.value = performance.now();
  }, 1_000);
  return () => {
    disconnect();
    otherTabs.close();
    document.removeEventListener('visibilitychange', connectIfShown);
    clearInterval(timer);
    refusal.value = null;
    heardAt.value = null;
  };
}

function addSecond({ from, asOf, charged, overBudget, invalid, rejected }: LiveClicks): void {
  const at = Date.parse(asOf) / 1_000;
  const length = Math.max(0.001, at - Date.parse(from) / 1_000);
  const second: Second = { at, length, counts: [charged, overBudget, invalid, rejected] };
  const before = seconds.value.filter((one) => one.at < at && one.at > at - CHART_SECONDS);
  seconds.value = [...before, second];
}

/** Clicks by outcome, in the order of `OUTCOMES`, that were settled after `from` (Unix time in s). The page knows 10 minutes at most. */
export function settledSince(from: number): readonly number[] {
  const since = seconds.value.filter(({ at }) => at > from);
  return OUTCOMES.map((_, index) => since.reduce((sum, { counts }) => sum + (counts[index] ?? 0), 0));
}

function changeBudgets(changed: readonly LiveBudgetRow[]): void {
  const all = new Map(budgets.value);
  for (const budget of changed) all.set(budget.advertiserId, budget);
  budgets.value = all;
}
