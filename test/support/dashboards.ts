import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..', '..');

/** A query of a panel. With Prometheus it has an expression, with CloudWatch a metric. */
export type Target = {
  readonly expr?: string;
  readonly namespace?: string;
  readonly metricName?: string;
  readonly dimensions?: Readonly<Record<string, string>>;
};
export type Panel = {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: { readonly type: string; readonly uid: string };
  readonly targets?: readonly Target[];
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
};
export type Dashboard = {
  readonly uid: string;
  readonly title: string;
  readonly tags: readonly string[];
  readonly links: readonly { readonly type: string; readonly tags: readonly string[] }[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string; readonly query: unknown }[];
  };
  readonly annotations: { readonly list: readonly { readonly name: string; readonly expr: string }[] };
  readonly panels: readonly Panel[];
};

/** The dashboards of Grafana, by file. */
export const dashboards: readonly (readonly [path: string, dashboard: Dashboard])[] = globSync(
  'deploy/grafana/dashboards/*.json',
  { cwd: ROOT },
)
  .toSorted()
  // A parsing boundary: the tests check what they use.
  .map((path) => [path, JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as Dashboard] as const);

/** An expression as Grafana sends it to Prometheus: every variable is `All`, and `$__rate_interval` fits scrapes of a second. */
export function expand(expression: string): string {
  return expression
    .replaceAll('$__rate_interval', '10s')
    .replaceAll(/\$(instance|advertiser|currency)\b/g, '.*');
}
