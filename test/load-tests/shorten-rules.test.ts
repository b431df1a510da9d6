import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { drills } from '../../load-tests/drill/drills.ts';
import { forgottenAlerts, readRules, thresholdsOf } from '../../load-tests/drill/run-drill.ts';
import { alertsIn, shortenRules } from '../../load-tests/drill/shorten-rules.ts';
import { isSkipped } from '../support/skipped.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const RULE = `
groups:
  - name: example
    rules:
      - alert: Example
        expr: max(max_over_time(age_seconds[2m])) > 60 unless up offset 1h
        for: 3m
        keep_firing_for: 15m
        annotations: { summary: Too old }
`;

describe('shortened rules', () => {
  it('have short ranges, offsets and waits, and the thresholds that are given', () => {
    expect(alertsIn(shortenRules(RULE, { Example: [['> 60', '> 5']] }))).toEqual([
      {
        alert: 'Example',
        expr: 'max(max_over_time(age_seconds[5s])) > 5 unless up offset 30s',
        for: '3s',
        keep_firing_for: '5s',
        annotations: { summary: 'Too old' },
      },
    ]);
  });

  it.each([
    [{ Example: [['> 61', '> 5']] as const }, /Expected "> 61" in the expression of Example, got max/],
    [{ Other: [] }, /Expected thresholds of alerts that exist, got Other/],
  ])('are refused with thresholds that fit no alert', (thresholds, error) => {
    expect(() => shortenRules(RULE, thresholds)).toThrow(error);
  });

  it('keep the name, the labels and the texts of every alert', () => {
    const [before, after] = [
      alertsIn(readRules()),
      alertsIn(shortenRules(readRules(), thresholdsOf(drills))),
    ];
    const kept = before.map(({ expr: _, for: __, keep_firing_for: ___, ...rest }) => rest);
    expect(after).toMatchObject(kept);
  });

  const isMissing = spawnSync('promtool', ['--version']).status !== 0;
  it.skipIf(isSkipped(isMissing ? 'promtool is missing: install Prometheus' : null))(
    'are valid rules',
    () => {
      const path = join(temporaryFolder(), 'alerts.yml');
      writeFileSync(path, shortenRules(readRules(), thresholdsOf(drills)));
      const { status, stderr } = spawnSync('promtool', ['check', 'rules', path], { encoding: 'utf8' });
      expect(stderr).toBe('');
      expect(status).toBe(0);
    },
  );
});

describe('the drills', () => {
  it('cause every alert, each once', () => {
    expect(forgottenAlerts()).toEqual([]);
    const names = alertsIn(readRules()).map(({ alert }) => alert);
    const caused = drills.flatMap(({ alerts }) => Object.keys(alerts));
    expect(caused.toSorted()).toEqual(names.toSorted());
  });
});
