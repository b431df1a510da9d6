import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorMessage } from '../../common/errors.ts';
import { freePorts } from '../../emulators/process/free-ports.ts';
import { openGuard } from '../../emulators/process/guarded-process.ts';
import type { ProgressDisplay } from '../progress-display.ts';
import type { Drill, World } from './drill.ts';
import { startDrillStack } from './drill-stack.ts';
import { drills } from './drills.ts';
import { type ActiveAlert, type Prometheus, startPrometheus } from './prometheus.ts';
import { alertsIn, shortenRules } from './shorten-rules.ts';
import { untilTrue } from './until-true.ts';

const FOLDER = join(import.meta.dirname, '..', '..', 'deploy', 'prometheus');
/** Longest waits until an alert fires and until it has ended, in ms. A reconciliation takes place once a minute. */
const FIRES_MS_MAX = 120_000;
const ENDS_MS_MAX = 120_000;

/** What became of one alert. Times in seconds from the cause, and from its end. */
export type DrillResult = {
  readonly alert: string;
  readonly cause: string;
  readonly firedAfter: number | null;
  readonly endedAfter: number | null;
  /** The annotations of the alert as Prometheus filled them in. */
  readonly summary: string | null;
  readonly runbookUrl: string | null;
  /** Why it was not caused, did not fire, or did not end. */
  readonly problem: string | null;
};

/** The rules of the repository. */
export function readRules(): string {
  return readFileSync(join(FOLDER, 'alerts.yml'), 'utf8');
}

/**
 * Starts a stack and a Prometheus of its own, causes the alerts of `only` (all, if it is empty), and waits until each fires and ends. Never
 * touches a stack that runs already. `stop` ends it early. Throws if the stack or Prometheus does not start.
 */
export async function runDrill(
  only: readonly string[],
  {
    progress,
    stop,
    startKafka,
  }: Pick<World, 'startKafka'> & { progress: ProgressDisplay; stop: AbortSignal },
): Promise<DrillResult[]> {
  const wanted = drills.filter(
    ({ alerts }) => only.length === 0 || Object.keys(alerts).some((name) => only.includes(name)),
  );
  const guard = await openGuard(join(tmpdir(), 'tollway-drill-'));
  try {
    progress.show('Starting a stack and Prometheus');
    const stack = await startDrillStack(guard);
    try {
      const [port = 0] = await freePorts(1);
      const rules = { 'alerts.yml': shortenRules(readRules(), thresholdsOf(wanted)) };
      const prometheus = await startPrometheus(guard, { port, targets: stack.targets, rules });
      const world = { ...stack, prometheus, startKafka };
      await untilTrue('scraped parts', async () => (await prometheus.query('up == 1')).length === 3, 20_000);
      const run = (drill: Drill) => (stop.aborted ? [] : runOne(world, drill, progress));
      const gentle = await Promise.all(wanted.filter(({ isGentle }) => isGentle).map(run));
      const results = [...gentle];
      for (const drill of wanted.filter(({ isGentle }) => !isGentle)) results.push(await run(drill));
      return results.flat();
    } finally {
      await stack.stop();
    }
  } finally {
    await guard.end();
    progress.end();
  }
}

/** What replaces parts of expressions, by alert. */
export function thresholdsOf(wanted: readonly Drill[]) {
  return Object.assign({}, ...wanted.map(({ alerts }) => alerts)) as Drill['alerts'];
}

/** Causes the alerts of one drill. Never rejects. */
async function runOne(
  world: World,
  { cause, alerts, begin }: Drill,
  progress: ProgressDisplay,
): Promise<DrillResult[]> {
  const names = Object.keys(alerts);
  progress.show(`${cause}: ${names.join(', ')}`);
  const beganAt = performance.now();
  let undo: Awaited<ReturnType<typeof begin>>;
  try {
    // Those of an earlier drill can still fire.
    for (const name of names)
      if ((await untilEnds(world.prometheus, name, beganAt)) === null) throw new Error('it fired before');
    undo = await begin(world);
  } catch (error) {
    const problem = `it could not be caused: ${errorMessage(error)}`;
    return names.map((alert) => ({ ...NOTHING, alert, cause, problem }));
  }
  const fired = await Promise.all(names.map((name) => untilFires(world.prometheus, name, beganAt)));
  await undo();
  const undoneAt = performance.now();
  return Promise.all(
    names.map(async (alert, index) => {
      const first = fired[index];
      if (first == null) return { ...NOTHING, alert, cause, problem: 'it did not fire' };
      const endedAfter = await untilEnds(world.prometheus, alert, undoneAt);
      return {
        alert,
        cause,
        firedAfter: first.after,
        endedAfter,
        summary: first.annotations.summary ?? null,
        runbookUrl: first.annotations.runbook_url ?? null,
        problem: endedAfter === null ? 'it did not end' : null,
      };
    }),
  );
}

const NOTHING = { firedAfter: null, endedAfter: null, summary: null, runbookUrl: null } as const;

type Fired = Pick<ActiveAlert, 'annotations'> & { readonly after: number };

async function untilFires(prometheus: Prometheus, name: string, since: number): Promise<Fired | null> {
  let found: ActiveAlert | undefined;
  const look = async () => {
    found = (await prometheus.alerts()).find(
      ({ labels, state }) => labels.alertname === name && state === 'firing',
    );
    return found !== undefined;
  };
  try {
    await untilTrue(name, look, FIRES_MS_MAX);
  } catch {
    return null;
  }
  return { annotations: (found as ActiveAlert).annotations, after: (performance.now() - since) / 1_000 };
}

/** Seconds until no alert of the name fires any more; `null` if one still does after `ENDS_MS_MAX`. */
async function untilEnds(prometheus: Prometheus, name: string, since: number): Promise<number | null> {
  const look = async () =>
    !(await prometheus.alerts()).some(({ labels, state }) => labels.alertname === name && state === 'firing');
  return untilTrue(name, look, ENDS_MS_MAX).then(
    () => (performance.now() - since) / 1_000,
    () => null,
  );
}

/** The alerts of the rules that no drill causes. */
export function forgottenAlerts(): string[] {
  const caused = new Set(drills.flatMap(({ alerts }) => Object.keys(alerts)));
  return alertsIn(readRules()).flatMap(({ alert }) => (caused.has(alert) ? [] : [alert]));
}
