import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, stringify } from 'yaml';
import { headingsOf, readPage } from '../support/markdown.ts';
import { isSkipped } from '../support/skipped.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const FOLDER = 'deploy/prometheus';
const OPERATOR = 'deploy/kubernetes/prometheus-operator';
const read = (path: string) => parse(readFileSync(join(ROOT, path), 'utf8'), { merge: true });

type Rule = {
  alert: string;
  expr: string;
  labels: { severity?: string };
  annotations: { summary?: string; runbook_url?: string; description?: string };
};
type Alert = {
  exp_labels: Record<string, string>;
  exp_annotations: { summary?: string; runbook_url?: string; description?: string };
};
type Group = {
  name: string;
  alert_rule_test?: { eval_time: string; alertname: string; exp_alerts?: Alert[] }[];
  promql_expr_test?: { eval_time: string; expr: string; exp_samples: { labels: string; value: number }[] }[];
};

type Rules = { groups: { rules: Rule[] }[] };

// Parsing boundaries: what of them is used below is looked at there, or by promtool.
const { spec: operatorRules } = read(`${OPERATOR}/reconcile-alert.yaml`) as { spec: Rules };
const ruleGroups = [...(read(`${FOLDER}/alerts.yml`) as Rules).groups, ...operatorRules.groups];
const rules = ruleGroups.flatMap((group) => group.rules);
const tests = [`${FOLDER}/alerts.test.yml`, `${OPERATOR}/reconcile-alert.test.yml`].flatMap(
  (path) => (read(path) as { tests: Group[] }).tests,
);
const byName = rules.map((rule) => [rule.alert, rule] as const);

/** The groups of one kind for one alert, as in `TollwayPartDown is quiet: single scrapes fail`. */
const groupsOf = (alert: string, kind: string) =>
  tests.filter(({ name }) => name.startsWith(`${alert} ${kind}: `));

/** The section of an alert in the folder docs. */
const sectionOf = (alert: string) => `/runbook.md#${alert.toLowerCase()}`;
/** How the annotation `runbook_url` of an alert begins: with the external label that has the address of docs, or the path in the repository. */
const DOCS = '{{ or $externalLabels.docs_url "docs" }}';

/** Minutes of a duration of promtool, as in `1h30m`. */
function minutes(duration: string): number {
  const [, hours = 0, rest = 0] = /^(?:(\d+)h)?(?:(\d+)m)?$/.exec(duration) ?? [];
  return Number(hours) * 60 + Number(rest);
}

describe('the alerts', () => {
  it('are many, and each has a name of its own', () => {
    expect(rules.length).toBeGreaterThan(15);
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  });

  it.each(byName)('%s says how urgent it is, what happened, and what that means', (_, rule) => {
    expect(rule.labels.severity).toMatch(/^(page|ticket)$/);
    expect(rule.annotations.summary).toMatch(/\S/);
    expect(rule.annotations.description).toMatch(/\.$/);
  });

  it.each(byName)('%s names its section of the runbook', (alert, { annotations }) => {
    expect(annotations.runbook_url).toBe(`${DOCS}${sectionOf(alert)}`);
    const sections = headingsOf(readPage('docs/runbook.md')).map(({ anchor }) => `/runbook.md#${anchor}`);
    expect(sections).toContain(sectionOf(alert));
  });

  it.each(byName.filter(([, { expr }]) => /by \(advertiser\b/.test(expr)))(
    '%s names its advertiser',
    (_, { expr, annotations: { summary } }) => {
      expect(expr).toMatch(
        /group_left \(name\)\s+topk by \(advertiser, currency\) \(1, tollway_advertiser_info\b/,
      );
      expect(summary).toContain('Advertiser {{ $labels.name }} ({{ $labels.advertiser }})');
    },
  );
});

describe('the tests of the alerts', () => {
  it.each(byName)('%s fires, with all that it says', (alert) => {
    const expected = groupsOf(alert, 'fires').flatMap(({ alert_rule_test = [] }) =>
      alert_rule_test.flatMap(({ alertname, exp_alerts = [] }) => (alertname === alert ? exp_alerts : [])),
    );
    expect(expected).not.toEqual([]);
    for (const { exp_annotations } of expected)
      expect(exp_annotations).toEqual({
        summary: expect.stringMatching(/\S/),
        runbook_url: expect.stringMatching(new RegExp(`^(docs|https://.+/docs)${sectionOf(alert)}$`)),
        description: expect.stringMatching(/\.$/),
      });
  });

  it.each(byName)('%s is quiet at all times of a neighbouring case', (alert) => {
    const looks = groupsOf(alert, 'is quiet').flatMap(({ promql_expr_test = [] }) => promql_expr_test);
    expect(looks).not.toEqual([]);
    for (const { expr, eval_time, exp_samples } of looks) {
      expect(expr).toBe(`count_over_time(ALERTS{alertname="${alert}", alertstate="firing"}[${eval_time}])`);
      expect(minutes(eval_time)).toBeGreaterThanOrEqual(20);
      expect(exp_samples).toEqual([]);
    }
  });

  it.each(byName)('%s holds without a gap, and ends', (alert) => {
    const groups = groupsOf(alert, 'holds and ends');
    expect(groups).not.toEqual([]);
    for (const { promql_expr_test: looks = [] } of groups) {
      expect(looks).toHaveLength(2);
      const [held, ended] = looks;
      const firing = `count(ALERTS{alertname="${alert}", alertstate="firing"}) or vector(0)`;
      const [, inner, span = ''] = /^min_over_time\(\((.*)\)\[(\w+):30s\]\)$/.exec(held?.expr ?? '') ?? [];
      expect(inner).toBe(firing);
      expect(minutes(span)).toBeGreaterThanOrEqual(5);
      expect(held?.exp_samples).toEqual([{ labels: '{}', value: 1 }]);
      expect(ended).toMatchObject({ expr: `ALERTS{alertname="${alert}"}`, exp_samples: [] });
      expect(minutes(ended?.eval_time ?? '')).toBeGreaterThan(minutes(held?.eval_time ?? ''));
    }
  });
});

/** What promtool says when it fails; empty when all is well. */
function complaints(...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync('promtool', args, { cwd: ROOT, encoding: 'utf8' });
  return status === 0 ? '' : `${status} ${error ?? ''}\n${stdout}\n${stderr}`;
}

/** What `promtool test rules` says about these rules in these groups of tests. */
function complaintsAbout(rules: readonly Rule[], tests: readonly Group[]): string {
  const folder = temporaryFolder();
  writeFileSync(join(folder, 'rules.yml'), stringify({ groups: [{ name: 'tollway', rules }] }));
  const file = join(folder, 'test.yml');
  writeFileSync(file, stringify({ rule_files: ['rules.yml'], evaluation_interval: '30s', tests }));
  return complaints('test', 'rules', file);
}

const isMissing = complaints('--version') !== '';
describe.skipIf(isSkipped(isMissing ? 'promtool is missing: install Prometheus' : null))('promtool', () => {
  it.each(['prometheus.yml', 'local.yml'])('takes %s and its rules', (file) => {
    expect(complaints('check', 'config', `${FOLDER}/${file}`)).toBe('');
  });

  // For each alert by itself, because promtool evaluates every rule in every group: all of them together take five times the CPU time.
  // promtool reads no PrometheusRule either, so the rule for the operator has to be written to a file of rules anyway.
  it.each(byName)('sees %s fire when it should, hold, and end', (alert, rule) => {
    const groups = tests.filter(({ name }) => name.startsWith(`${alert} `));
    expect(complaintsAbout([rule], groups)).toBe('');
  });

  it('sees no alert fire without problems', () => {
    const names = new Set(rules.map(({ alert }) => alert));
    const groups = tests.filter(({ name }) => !names.has(name.split(' ')[0] ?? ''));
    expect(groups).not.toEqual([]);
    expect(complaintsAbout(rules, groups)).toBe('');
  });
});
