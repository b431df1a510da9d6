import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import type { DrillResult } from '../../load-tests/drill/run-drill.ts';
import { runToEnd } from '../support/run-script.ts';
import { isSkipped } from '../support/skipped.ts';

const ALERTS = ['TollwayDeadLetters', 'TollwayLinksNotFound', 'TollwayPartDown'];

const drill = (...args: string[]) => runToEnd('load-tests/drill/main.ts', process.env, ...args);

describe('npm run drill', () => {
  const isMissing = spawnSync('prometheus', ['--version']).status !== 0;
  it.skipIf(isSkipped(isMissing ? 'prometheus is missing: install Prometheus' : null))(
    'causes alerts on a stack of its own: each fires with its texts, and ends',
    { timeout: 150_000 },
    async () => {
      const { code, stdout, stderr } = await drill('--only', ALERTS.join(','), '--json');
      expect(code, stderr).toBe(0);
      const { results } = JSON.parse(stdout) as { results: DrillResult[] };
      expect(results.map(({ alert }) => alert).toSorted()).toEqual(ALERTS);
      for (const { firedAfter, endedAfter, summary, runbookUrl, alert, problem } of results) {
        expect([firedAfter, endedAfter]).toEqual([expect.any(Number), expect.any(Number)]);
        expect(summary).toMatch(/\w/);
        expect(runbookUrl).toBe(`docs/runbook.md#${alert.toLowerCase()}`);
        expect(problem).toBeNull();
      }
    },
  );

  it('refuses names of alerts that do not exist', async () => {
    const { code, stdout, stderr } = await drill('--only', 'TollwayPartDown,NoSuchAlert');
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toBe('Not measured: --only: expected names of alerts, got NoSuchAlert\n');
  });
});
