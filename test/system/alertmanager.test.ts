import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { isSkippedInCiToo } from '../support/skipped.ts';
import { temporaryFolder } from '../support/temporary-folder.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const CONFIG = 'deploy/alertmanager/alertmanager.yml';
const text = readFileSync(join(ROOT, CONFIG), 'utf8');

type Rule = { alert: string; annotations: { description: string } };
type Inhibition = { source_matchers: string[]; target_matchers: string[] };

// Parsing boundaries: the tests below check the fields that they use.
const { inhibit_rules: inhibitions } = parse(text) as { inhibit_rules: Inhibition[] };
const { groups } = parse(readFileSync(join(ROOT, 'deploy/prometheus/alerts.yml'), 'utf8')) as {
  groups: { rules: Rule[] }[];
};
const alerts = groups.flatMap(({ rules }) => rules.map(({ alert }) => alert));

/** Alerts after which clicks are lost or charged wrongly, or may be. They are always sent. */
const NEVER_INHIBITED =
  /^Tollway(ClicksUnrecorded|SpoolDamaged|SpoolTorn|SpoolLarge|RecordsLost|BooksUnbalanced|ClicksMissing|ReconciliationOld|DeadLetters|InvariantBroken|RedirectErrors|LinksNotFound|DatabaseDown|PartAbsent)$/;

const namesIn = (matchers: readonly string[]) =>
  matchers.flatMap((matcher) => /^alertname=~?"([^"]+)"$/.exec(matcher)?.[1]?.split('|') ?? []);

describe('the inhibitions of Alertmanager', () => {
  it('name alerts that exist', () => {
    expect(inhibitions.length).toBeGreaterThan(4);
    for (const { source_matchers, target_matchers } of inhibitions)
      for (const matchers of [source_matchers, target_matchers]) {
        expect(namesIn(matchers)).not.toEqual([]);
        expect(alerts).toEqual(expect.arrayContaining(namesIn(matchers)));
      }
  });

  it('hide no alert about clicks that are lost, and no cause', () => {
    expect(alerts.filter((alert) => NEVER_INHIBITED.test(alert)).length).toBeGreaterThan(10);
    for (const { target_matchers } of inhibitions)
      expect(namesIn(target_matchers).filter((alert) => NEVER_INHIBITED.test(alert))).toEqual([]);
  });
});

/** What amtool prints; it comes with Alertmanager. */
function amtool(...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync('amtool', args, { cwd: ROOT, encoding: 'utf8' });
  return status === 0 ? stdout : `${status} ${error ?? ''}\n${stdout}\n${stderr}`;
}

const isMissing = spawnSync('amtool', ['--version']).status !== 0;
describe.skipIf(isSkippedInCiToo(isMissing ? 'amtool is missing: install prometheus-alertmanager' : null))(
  'amtool',
  () => {
    it('takes the configuration', () => {
      expect(amtool('check-config', CONFIG)).toContain('SUCCESS');
    });

    it('takes the receivers of the comments', () => {
      const path = join(temporaryFolder(), 'filled.yml');
      writeFileSync(path, text.replace(/^ {4}# /gm, '    '));
      expect(parse(readFileSync(path, 'utf8'))).toMatchObject({
        receivers: [
          { name: 'page', pagerduty_configs: [{}], webhook_configs: [{}] },
          { name: 'ticket', slack_configs: [{}], email_configs: [{}] },
        ],
      });
      expect(amtool('check-config', path)).toContain('SUCCESS');
    });

    it.each([
      ['page', 'severity=page', 'alertname=TollwayClicksMissing'],
      ['ticket', 'severity=ticket', 'alertname=TollwayDeadLetters'],
      ['ticket', 'alertname=AnAlertOfAnotherProgram'],
    ])('sends to the receiver %s: %s', (receiver, ...labels) => {
      expect(amtool('config', 'routes', 'test', `--config.file=${CONFIG}`, ...labels).trim()).toBe(receiver);
    });
  },
);
