import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Guard, untilAnswers } from '../../emulators/process/guarded-process.ts';

/** Names of the program: that of the project, and of Debian. */
const PROGRAM = 'prometheus';
const ANSWER_MS_MAX = 5_000;

/** The addresses of each job, such as `{ processor: ['127.0.0.1:8082'] }`. */
export type Targets = Readonly<Record<string, readonly string[]>>;

/** An alert that is pending or firing. */
export type ActiveAlert = {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly state: 'pending' | 'firing';
};

/** A series of an answer: its labels, and its value now or its values over time. */
export type Series = {
  readonly metric: Readonly<Record<string, string>>;
  readonly value?: readonly [number, string];
  readonly values?: readonly (readonly [number, string])[];
};

/** A running Prometheus. */
export type Prometheus = {
  /** The alerts of its rules that are pending or firing. */
  readonly alerts: () => Promise<readonly ActiveAlert[]>;
  readonly query: (expression: string) => Promise<readonly Series[]>;
  /** Values of the last `seconds`, in steps of a second. */
  readonly queryRange: (expression: string, seconds: number) => Promise<readonly Series[]>;
  /** Replaces the addresses that it scrapes. It notices within a second. */
  readonly setTargets: (targets: Targets) => void;
};

/**
 * Starts a Prometheus in the folder of a guard, which ends it. It scrapes `targets` and evaluates the rules once a second. `rules` are the
 * contents of rule files by name. Throws if it does not start.
 */
export async function startPrometheus(
  guard: Guard,
  { port, targets, rules }: { port: number; targets: Targets; rules: Readonly<Record<string, string>> },
): Promise<Prometheus> {
  const targetsPath = join(guard.folder, 'targets.json');
  const setTargets = (wanted: Targets) => {
    const groups = Object.entries(wanted).map(([job, addresses]) => ({
      targets: addresses,
      labels: { job },
    }));
    writeFileSync(`${targetsPath}.new`, JSON.stringify(groups));
    renameSync(`${targetsPath}.new`, targetsPath);
  };
  setTargets(targets);
  for (const [name, content] of Object.entries(rules)) writeFileSync(join(guard.folder, name), content);
  const config = join(guard.folder, 'prometheus.json');
  // YAML includes JSON.
  writeFileSync(config, JSON.stringify(configOf(Object.keys(rules), targetsPath)));
  const child = await guard.run(PROGRAM, [
    `--config.file=${config}`,
    `--storage.tsdb.path=${join(guard.folder, 'prometheus')}`,
    `--web.listen-address=127.0.0.1:${port}`,
    '--log.level=warn',
  ]);
  const get = (path: string, query: Readonly<Record<string, string>> = {}) => request(port, path, query);
  await untilAnswers(
    PROGRAM,
    () => get('status/buildinfo'),
    async () => (child.hasEnded() ? child.logTail() : null),
  );
  return {
    alerts: async () => ((await get('alerts')) as { alerts: ActiveAlert[] }).alerts,
    query: async (expression) => ((await get('query', { query: expression })) as { result: Series[] }).result,
    queryRange: async (expression, seconds) => {
      const end = Date.now() / 1_000;
      const range = { start: String(end - seconds), end: String(end), step: '1' };
      return ((await get('query_range', { query: expression, ...range })) as { result: Series[] }).result;
    },
    setTargets,
  };
}

function configOf(ruleFiles: readonly string[], targetsPath: string): unknown {
  return {
    global: { scrape_interval: '1s', scrape_timeout: '900ms', evaluation_interval: '1s' },
    rule_files: ruleFiles,
    scrape_configs: [
      { job_name: 'tollway', file_sd_configs: [{ files: [targetsPath], refresh_interval: '1s' }] },
    ],
  };
}

/** The field `data` of an answer of its HTTP API. Throws the error that it names. */
async function request(
  port: number,
  path: string,
  query: Readonly<Record<string, string>>,
): Promise<unknown> {
  const url = `http://127.0.0.1:${port}/api/v1/${path}?${new URLSearchParams(query)}`;
  const response = await fetch(url, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
  // A parsing boundary: https://prometheus.io/docs/prometheus/latest/querying/api/
  const { status, data, error } = (await response.json()) as {
    status: string;
    data: unknown;
    error?: string;
  };
  if (status !== 'success') throw new Error(`Prometheus: ${error} (${path} ${JSON.stringify(query)})`);
  return data;
}
