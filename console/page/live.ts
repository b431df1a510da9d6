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
import { type ApiError, DATABASE_AWAY, refusalOf, UNREACHABLE } from './api.ts';

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
/** Whether this tab was hidden and has given its stream up for another one. It opens a stream when it is shown. */
const hasGivenUp = signal(false);
/** Why the console answers, but opens no stream. `null`: it does, or it does not answer. */
export const refusal = signal<ApiError | null>(null);
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
  const age = ageMs.value;
  const isWaiting = age === null || hasGivenUp.value;
  if (refusal.value !== null) {
    if (refusal.value.code !== DATABASE_AWAY) return 'refused';
    return age === null ? 'connecting' : 'late';
  }
  if (!isConnected.value) return isWaiting ? 'connecting' : 'disconnected';
  if (age === null) return 'connecting';
  return age > LATE_MS ? 'late' : 'live';
});

/** The console sends these while its database is away too: they tell of that. */
const WITHOUT_DATABASE: ReadonlySet<string> = new Set(['health', 'problems']);

/** Whether the next second is of the same stream as the one before. */
let isContinuous = false;
/** Since when no second is missing in `seconds`, Unix time in s; `null` before the first one. */
let countedSince: number | null = null;

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
 * Listens to the events of the console and reconnects by itself. Returns how to stop, which forgets all numbers: the next login may not see
 * them.
 *
 * A browser has six connections to a server for all of its tabs, and a stream keeps one. So a tab that is hidden gives its stream up when
 * another one opens a stream, and opens none before it is shown.
 */
export function listenLive(): () => void {
  let source: EventSource | null = null;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let isStopped = false;
  const otherTabs = new BroadcastChannel('tollway-live');
  const disconnect = () => {
    isConnected.value = false;
    source?.close();
    source = null;
    clearTimeout(retry);
  };
  const connect = () => {
    otherTabs.postMessage('opens');
    isContinuous = false;
    source = openStream(() => {
      disconnect();
      hasGivenUp.value = false;
      retry = setTimeout(connectIfShown, RECONNECT_MS);
      // The event does not tell whether the console is away, refuses the stream, or the session has ended, which shows the login.
      void refusalOf(EVENTS).then((error) => {
        if (!isStopped && !isConnected.value) refusal.value = error?.code === UNREACHABLE ? null : error;
      });
    });
  };
  const connectIfShown = () => {
    if (document.hidden || source !== null) return;
    clearTimeout(retry);
    connect();
  };
  otherTabs.onmessage = () => {
    if (!document.hidden || source === null) return;
    disconnect();
    hasGivenUp.value = true;
  };
  document.addEventListener('visibilitychange', connectIfShown);
  connectIfShown();
  const timer = setInterval(() => {
    now.value = performance.now();
  }, 1_000);
  return () => {
    isStopped = true;
    disconnect();
    otherTabs.close();
    document.removeEventListener('visibilitychange', connectIfShown);
    clearInterval(timer);
    forgetAll();
  };
}

/** Opens a stream and follows it until it breaks, which `onBroken` is called for. */
function openStream(onBroken: () => void): EventSource {
  const source = new EventSource(EVENTS);
  const setConnected = () => {
    isConnected.value = true;
    hasGivenUp.value = false;
    refusal.value = null;
  };
  let isFirst = true;
  for (const [name, listener] of Object.entries(listeners))
    source.addEventListener(name, (event: MessageEvent<string>) => {
      batch(() => {
        // A new stream sends all budgets again: those that are gone meanwhile must not stay.
        if (name === 'budgets' && isFirst) {
          budgets.value = new Map();
          isFirst = false;
        }
        setConnected();
        now.value = performance.now();
        if (!WITHOUT_DATABASE.has(name)) heardAt.value = now.value;
        listener(JSON.parse(event.data) as never);
      });
    });
  // The console answers, and its database does not: the numbers get old.
  source.addEventListener('stale', () => batch(setConnected));
  source.addEventListener('error', onBroken);
  return source;
}

function forgetAll(): void {
  batch(() => {
    for (const one of [refusal, heardAt, flow, reasons, top, latest, books, problems, health])
      one.value = null;
    hasGivenUp.value = false;
    seconds.value = [];
    budgets.value = new Map();
  });
  countedSince = null;
}

function addSecond({ from, asOf, charged, overBudget, invalid, rejected }: LiveClicks): void {
  const at = Date.parse(asOf) / 1_000;
  const begin = Date.parse(from) / 1_000;
  const latestAt = seconds.value.at(-1)?.at ?? Number.NEGATIVE_INFINITY;
  // Between two streams, clicks may have been settled that this page does not know.
  if (!isContinuous && begin > latestAt) countedSince = begin;
  isContinuous = true;
  const second: Second = {
    at,
    length: Math.max(0.001, at - begin),
    counts: [charged, overBudget, invalid, rejected],
  };
  const before = seconds.value.filter((one) => one.at < at && one.at > at - CHART_SECONDS);
  seconds.value = [...before, second];
}

/**
 * Clicks by outcome, in the order of `OUTCOMES`, that were settled after `from` (Unix time in s); `null` if the page has not received all of
 * them. It keeps 10 minutes.
 */
export function settledSince(from: number): readonly number[] | null {
  const since = seconds.value.filter(({ at }) => at > from);
  if (countedSince === null || from < countedSince) return null;
  return OUTCOMES.map((_, index) => since.reduce((sum, { counts }) => sum + (counts[index] ?? 0), 0));
}

function changeBudgets(changed: readonly LiveBudgetRow[]): void {
  const all = new Map(budgets.value);
  for (const budget of changed) all.set(budget.advertiserId, budget);
  budgets.value = all;
}
