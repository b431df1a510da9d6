import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { LINK_ANSWERS, LINK_ERRORS } from '../../../ad-server/part-numbers.ts';
import { settings } from '../../../common/config/config.ts';
import {
  currentProblems,
  type ProblemSources,
  THRESHOLDS,
} from '../../../ledger/operations/current-problems.ts';
import { EXHAUSTED_SOON_SECONDS, NEARLY_GONE_SHARE } from '../../../ledger/operations/ending-budgets.ts';
import { backlogOf } from '../../../ledger/operations/parts-backlog.ts';
import { healthOf } from '../../../ledger/operations/parts-health.ts';
import { headingsOf, readPage } from '../../support/markdown.ts';
import { AS_OF, adServerPart, consolePart, processorPart } from '../../support/part-reports.ts';

const NOTHING: ProblemSources = {
  reports: { isProven: true, failure: null },
  ...{ asOf: AS_OF, parts: [], expected: [], books: null, deadLetters: 0, webhooks: [], budgets: [] },
  maintenance: { lastAt: AS_OF, partitionsAheadDays: 7 },
};
const BOOKS = { checkedAt: AS_OF, problemCount: 0, missing: 0 };

const problemsOf = (sources: Partial<ProblemSources>) => currentProblems({ ...NOTHING, ...sources });
const codesOf = (sources: Partial<ProblemSources>) => problemsOf(sources).map(({ code }) => code);
const ago = (seconds: number) => new Date(AS_OF.getTime() - seconds * 1_000);
const dead = (seconds: number) => ({ state: 'no_answer' as const, reportedAt: ago(seconds) });

describe('nothing is wrong', () => {
  it('while all parts are ready and nothing waits', () => {
    const parts = [adServerPart(), processorPart(), consolePart()];
    expect(problemsOf({ parts, expected: ['ad-server', 'processor'], books: BOOKS })).toEqual([]);
  });

  it('at the thresholds', () => {
    const parts = [
      adServerPart({
        numbers: { spoolOldestSeconds: 60, catalogAgeSeconds: 60, spoolBytes: 5, spoolBytesMax: 10 },
      }),
      processorPart({ numbers: { lagOldestSeconds: 60 } }),
    ];
    const webhooks = [
      { state: 'failing' as const, deliveries: 1, oldestSeconds: 900 },
      { state: 'ok' as const, deliveries: 1, oldestSeconds: 120 },
      { state: 'paused' as const, deliveries: 9, oldestSeconds: 99_999 },
    ];
    expect(codesOf({ parts, webhooks, books: { ...BOOKS, checkedAt: ago(1_800) } })).toEqual([]);
  });

  it('if numbers are not known', () => {
    const unknown = {
      spoolOldestSeconds: null,
      spoolBytes: null,
      spoolBytesMax: null,
      unrecordedRecently: null,
      linksAnsweredRecently: null,
      linksRefusedRecently: null,
      requestsRecently: null,
      linksNotFoundRecently: null,
    };
    const parts = [
      adServerPart({ numbers: { ...unknown, catalogAgeSeconds: null } }),
      processorPart({ numbers: { lagOldestSeconds: null, lagRecords: null } }),
    ];
    expect(codesOf({ parts, books: { ...BOOKS, missing: null } })).toEqual([]);
  });
});

describe('a part that died', () => {
  it.each([
    ['TollwayPartDown', 'page', adServerPart(dead(30)), 'The ad server at web-1:8081 does not answer'],
    [
      'TollwayPartDown',
      'page',
      processorPart(dead(30)),
      'The processor at worker-1:8082 does not answer; clicks wait and are charged later, none is lost',
    ],
    ['TollwayConsoleDown', 'ticket', consolePart(dead(30)), 'The console at console-1:8084 does not answer'],
  ])('is %s, since its last report', (code, severity, part, summary) => {
    expect(problemsOf({ parts: [part] })).toEqual([
      { code, severity, summary, since: ago(30), runbook: `#${code.toLowerCase()}` },
    ]);
  });

  it('has no other problem: its numbers are old', () => {
    const numbers = { spoolOldestSeconds: 99, catalogAgeSeconds: 99, unrecordedRecently: 1 };
    const parts = [
      adServerPart({ ...dead(30), numbers }),
      processorPart({ ...dead(30), numbers: { isBlocked: true } }),
    ];
    expect(codesOf({ parts })).toEqual(['TollwayPartDown', 'TollwayPartDown']);
  });

  it('is none once another one has started since', () => {
    const died = processorPart({ ...dead(600), instance: 'pod-1:8082' });
    const before = processorPart({ instance: 'pod-2:8082', startedAt: ago(900) });
    expect(codesOf({ parts: [died, before] })).toEqual(['TollwayPartDown']);
    const since = processorPart({ instance: 'pod-3:8082', startedAt: ago(500) });
    expect(codesOf({ parts: [died, before, since] })).toEqual([]);
    const second = processorPart({ ...dead(550), instance: 'pod-4:8082' });
    expect(codesOf({ parts: [died, second, since] })).toEqual(['TollwayPartDown']);
    expect(codesOf({ parts: [died, adServerPart({ startedAt: ago(500) })] })).toEqual(['TollwayPartDown']);
  });
});

it('A component that has to run and does not is a problem', () => {
  const parts = [adServerPart(), consolePart()];
  expect(problemsOf({ parts, expected: ['ad-server', 'processor'] })).toMatchObject([
    { code: 'TollwayPartAbsent', severity: 'page', summary: 'No processor runs' },
  ]);
  expect(codesOf({ parts, expected: [] })).toEqual([]);
});

describe('an ad server', () => {
  it.each([
    ['TollwaySpoolOld', { spoolOldestSeconds: 61 }, 61],
    ['TollwaySpoolLarge', { spoolBytes: 6, spoolBytesMax: 10 }, null],
    ['TollwayClicksUnrecorded', { unrecordedRecently: 1 }, null],
    ['TollwayCatalogOld', { catalogAgeSeconds: 61 }, 61],
    ['TollwayClockOff', { clockOffsetSeconds: 6 }, null],
    ['TollwayClockOff', { clockOffsetSeconds: -6 }, null],
  ])('with %s', (code, numbers, seconds) => {
    const [problem, ...others] = problemsOf({ parts: [adServerPart({ numbers })] });
    expect(problem).toMatchObject({ code, since: seconds === null ? null : ago(seconds) });
    expect(problem?.summary).toContain('web-1:8081');
    expect(others).toEqual([]);
  });

  it.each([
    [100, 11, 1],
    [100, 10, 0],
    [1_000, 50, 0],
  ])('with %i answers, %i of them refusals, together with another one', (answers, refusals, count) => {
    const numbers = { linksAnsweredRecently: answers, linksRefusedRecently: refusals };
    const found = problemsOf({
      parts: [adServerPart({ numbers }), adServerPart({ instance: 'web-2:8081' })],
    });
    expect(found).toHaveLength(count);
    for (const one of found)
      expect(one).toMatchObject({
        code: 'TollwayRedirectErrors',
        severity: 'page',
        summary:
          '11 of 100 requests with a valid link got an error instead of a redirect in the last ten minutes',
      });
  });

  it.each([
    [200, 101, 1],
    [200, 100, 0],
    [400, 200, 0],
  ])(
    'with %i requests, %i of them without a valid link, together with another one',
    (all, notFound, count) => {
      const numbers = { requestsRecently: all - 10, linksNotFoundRecently: notFound };
      const other = { requestsRecently: 10, linksNotFoundRecently: 0 };
      const found = problemsOf({
        parts: [adServerPart({ instance: 'web-2:8081', numbers: other }), adServerPart({ numbers })],
      });
      expect(found).toHaveLength(count);
      for (const one of found)
        expect(one).toMatchObject({
          ...{ code: 'TollwayLinksNotFound', severity: 'page', runbook: '#tollwaylinksnotfound' },
          summary:
            '101 of 200 requests named no valid link in the last ten minutes, most of them at web-1:8081',
        });
    },
  );

  it.each(['', 'worker 2: '])('does not take a blocked spool (%s) for the broker', (worker) => {
    const blocked = `${worker}spool: /data/spool/1 cannot be relayed: EIO`;
    const broker = `${worker}broker: it does not answer`;
    const found = (warnings: string[]) =>
      problemsOf({ parts: [adServerPart({ state: 'warning', warnings })] });
    expect(found([blocked])).toEqual([]);
    expect(found([blocked, broker])).toMatchObject([
      { code: 'TollwayBrokerDown', summary: expect.stringContaining(broker) },
    ]);
  });

  it('names the broker that takes no clicks', () => {
    const warnings = ['kafka: it does not answer'];
    expect(problemsOf({ parts: [adServerPart({ state: 'warning', warnings })] })).toMatchObject([
      {
        code: 'TollwayBrokerDown',
        severity: 'page',
        summary: expect.stringContaining('kafka: it does not answer'),
      },
    ]);
  });
});

it('A part that is not ready says why', () => {
  const problems = ['ad catalog: not loaded yet'];
  expect(problemsOf({ parts: [adServerPart({ state: 'not_ready', problems })] })).toMatchObject([
    { code: 'TollwayPartNotReady', severity: 'page', summary: expect.stringContaining(problems[0] ?? '') },
  ]);
});

it('A processor that does not settle clicks says why, once', () => {
  const part = processorPart({
    state: 'not_ready',
    problems: ['database: away'],
    numbers: { isBlocked: true },
  });
  expect(problemsOf({ parts: [part] })).toMatchObject([
    {
      code: 'TollwaySettlementBlocked',
      severity: 'page',
      summary: expect.stringContaining('database: away'),
    },
  ]);
});

describe('what waits too long', () => {
  it('in the broker', () => {
    const parts = [processorPart({ numbers: { lagOldestSeconds: 61 } })];
    expect(problemsOf({ parts })).toMatchObject([
      { code: 'TollwayBacklogOld', severity: 'ticket', since: ago(61) },
    ]);
  });

  it('for webhooks', () => {
    const webhooks = [
      { state: 'failing' as const, deliveries: 2, oldestSeconds: 901 },
      { state: 'ok' as const, deliveries: 1, oldestSeconds: 121 },
    ];
    expect(problemsOf({ webhooks })).toMatchObject([
      { code: 'TollwayWebhooksFailing', summary: expect.stringContaining('2 events wait'), since: ago(901) },
      { code: 'TollwayWebhooksLate', summary: expect.stringContaining('1 event waits'), since: ago(121) },
    ]);
  });
});

describe('maintenance', () => {
  it.each([
    ['TollwayPartitionsFew', 'page', { lastAt: AS_OF, partitionsAheadDays: 2 }],
    ['TollwayMaintenanceOld', 'ticket', { lastAt: ago(3_601), partitionsAheadDays: 7 }],
  ])('with %s', (code, severity, maintenance) => {
    expect(problemsOf({ maintenance })).toMatchObject([{ code, severity }]);
  });

  it('is no problem at the thresholds, or before the first run', () => {
    expect(codesOf({ maintenance: { lastAt: ago(3_600), partitionsAheadDays: 3 } })).toEqual([]);
    expect(codesOf({ maintenance: { lastAt: null, partitionsAheadDays: 7 } })).toEqual([]);
  });
});

describe('the books', () => {
  it.each([
    ['TollwayBooksUnbalanced', { ...BOOKS, problemCount: 1 }],
    ['TollwayClicksMissing', { ...BOOKS, missing: 1 }],
    ['TollwayReconciliationOld', { ...BOOKS, checkedAt: ago(1_801) }],
  ])('with %s', (code, books) => {
    expect(problemsOf({ books })).toMatchObject([{ code, severity: 'page' }]);
  });
});

const SHOES = {
  ...{ advertiserId: 4, name: 'Shoes', currency: 'EUR', remainingMicros: 1_500_000n },
  isExhausted: false,
};

it('Dead letters and budgets that are nearly gone are tickets, after the pages', () => {
  const budgets = [{ ...SHOES, isNearlyGone: true, secondsLeft: null }];
  expect(problemsOf({ deadLetters: 3, budgets, books: { ...BOOKS, problemCount: 1 } })).toMatchObject([
    { code: 'TollwayBooksUnbalanced' },
    { code: 'TollwayDeadLetters', severity: 'ticket', summary: 'Rejected records wait for an operator: 3' },
    {
      code: 'TollwayBudgetNearlyGone',
      summary: 'Advertiser Shoes (4) has 1.50 EUR left, less than 5 % of the budget',
    },
  ]);
});

it('A budget that pays for no ad is a ticket', () => {
  const budgets = [{ ...SHOES, isNearlyGone: true, isExhausted: true, secondsLeft: null }];
  expect(problemsOf({ budgets })).toMatchObject([
    { summary: 'Advertiser Shoes (4) has 1.50 EUR left, less than a click on its ads costs' },
  ]);
});

it('A budget that is exhausted within the hour is a ticket', () => {
  const soon = { ...SHOES, isNearlyGone: false, secondsLeft: 1_234 };
  expect(problemsOf({ budgets: [soon] })).toEqual([
    {
      ...{ code: 'TollwayBudgetExhaustedSoon', severity: 'ticket', since: null },
      summary:
        'Advertiser Shoes (4) has 1.50 EUR left, less than an hour at the rate of the last 15 to 30 minutes',
      runbook: '#tollwaybudgetexhaustedsoon',
    },
  ]);
  expect(codesOf({ budgets: [{ ...soon, isNearlyGone: true }] })).toEqual([
    'TollwayBudgetExhaustedSoon',
    'TollwayBudgetNearlyGone',
  ]);
});

describe('the backlog of the parts', () => {
  const partition = { broker: 'kafka', position: null, isAssigned: false };
  const first = { ...partition, partition: '0', records: 5, oldestAgeSeconds: 2 };
  const tenth = { ...partition, partition: '10', records: 1, oldestAgeSeconds: 1 };

  it('merges what several processors report of a partition', () => {
    const reports = [
      { instance: 'a:1', partitions: [tenth, { ...first, position: '7', isAssigned: true }], lagRecords: 6 },
      {
        instance: 'b:1',
        partitions: [
          { ...first, records: 4, position: '6' },
          { ...tenth, isAssigned: true },
        ],
        lagRecords: 5,
      },
    ];
    const parts = reports.map(({ instance, ...numbers }) =>
      processorPart({ instance, numbers: { ...numbers, lagOldestSeconds: 2 } }),
    );
    expect(backlogOf(parts)).toEqual({
      records: 6,
      oldestAgeSeconds: 2,
      partitions: [
        { broker: 'kafka', name: '0', records: 5, oldestAgeSeconds: 2, position: '7', readers: ['a:1'] },
        { broker: 'kafka', name: '10', records: 1, oldestAgeSeconds: 1, position: null, readers: ['b:1'] },
      ],
    });
  });

  it('is not known without a processor that answers', () => {
    const parts = [processorPart({ ...dead(30), numbers: { lagRecords: 6, partitions: [first] } })];
    expect(backlogOf(parts)).toEqual({ records: null, oldestAgeSeconds: null, partitions: [] });
  });
});

describe('the health of a component', () => {
  it.each([
    ['ready', [processorPart(), adServerPart({ state: 'not_ready', problems: ['spool: full'] })]],
    ['worker-1:8082 does not answer', [processorPart(dead(30))]],
    [
      'worker-1:8082 not ready (kafka: away); b:1 ready (kafka: slow)',
      [
        processorPart({ state: 'not_ready', problems: ['kafka: away'] }),
        processorPart({ instance: 'b:1', state: 'warning', warnings: ['kafka: slow'] }),
      ],
    ],
    ['ready', [processorPart({ ...dead(600), instance: 'a:1' }), processorPart({ startedAt: ago(500) })]],
    [
      'ready',
      [
        processorPart({ ...dead(600), state: 'unknown', instance: 'a:1' }),
        processorPart({ startedAt: ago(500) }),
      ],
    ],
    [
      'a:1 is not known: the database has had no report of it since 2026-01-31T11:50:00.000Z',
      [processorPart({ ...dead(600), state: 'unknown', instance: 'a:1' }), processorPart()],
    ],
    [null, [adServerPart()]],
  ])('is %s', (health, parts) => {
    expect(healthOf(parts, 'processor')).toBe(health);
  });
});

describe('the alerts of Prometheus', () => {
  const root = join(import.meta.dirname, '..', '..', '..');
  // A parsing boundary: a file of this repository, whose form promtool checks.
  const { groups } = parse(readFileSync(join(root, 'deploy/prometheus/alerts.yml'), 'utf8'), {
    merge: true,
  }) as {
    groups: { rules: { alert?: string; expr: string; labels?: { severity?: string } }[] }[];
  };
  const rules = new Map(groups.flatMap((group) => group.rules).map((rule) => [rule.alert, rule]));

  const SPOOL_BYTES = String(THRESHOLDS.spoolShare * Number(settings.SPOOL_MAX_BYTES.default));
  it.each([
    ['TollwaySpoolOld', 'page', `> ${THRESHOLDS.spoolOldestSeconds}`],
    ['TollwaySpoolLarge', 'page', `> ${SPOOL_BYTES}`],
    ['TollwayClicksUnrecorded', 'page', '> 0'],
    ['TollwayCatalogOld', 'ticket', `> ${THRESHOLDS.catalogAgeSeconds}`],
    ['TollwayClockOff', 'ticket', `> ${THRESHOLDS.clockOffsetSeconds}`],
    ['TollwayRedirectErrors', 'page', `> ${THRESHOLDS.redirectErrorsShare}`],
    ['TollwayRedirectErrors', 'page', `> ${THRESHOLDS.redirectErrors}`],
    ['TollwayRedirectErrors', 'page', `answer=~"${LINK_ANSWERS.join('|')}"`],
    ['TollwayRedirectErrors', 'page', `answer=~"${LINK_ERRORS.join('|')}"`],
    ['TollwayLinksNotFound', 'page', `> ${THRESHOLDS.linksNotFoundShare}`],
    ['TollwayLinksNotFound', 'page', `> ${THRESHOLDS.linksNotFound}`],
    ['TollwayBacklogOld', 'ticket', `> ${THRESHOLDS.backlogOldestSeconds}`],
    ['TollwayDeadLetters', 'ticket', `> ${THRESHOLDS.deadLetters}`],
    ['TollwayBudgetNearlyGone', 'ticket', `< ${NEARLY_GONE_SHARE} *`],
    ['TollwayBudgetExhaustedSoon', 'ticket', `< ${EXHAUSTED_SOON_SECONDS}`],
    ['TollwayBooksUnbalanced', 'page', `> ${THRESHOLDS.booksProblems}`],
    ['TollwayClicksMissing', 'page', `> ${THRESHOLDS.missingClicks}`],
    ['TollwayReconciliationOld', 'page', `> ${THRESHOLDS.reconciliationAgeSeconds}`],
    ['TollwayWebhooksFailing', 'ticket', `> ${THRESHOLDS.webhooksFailingSeconds}`],
    ['TollwayWebhooksLate', 'ticket', `> ${THRESHOLDS.webhooksLateSeconds}`],
    ['TollwayPartitionsFew', 'page', `< ${THRESHOLDS.partitionsAheadDays}`],
    ['TollwayMaintenanceOld', 'ticket', `> ${THRESHOLDS.maintenanceAgeSeconds}`],
    ['TollwayPartDown', 'page', 'up{'],
    ['TollwayPartAbsent', 'page', 'absent('],
    ['TollwayConsoleDown', 'ticket', 'up{'],
    ['TollwayBrokerDown', 'page', 'tollway_broker_up'],
    ['TollwaySettlementBlocked', 'page', 'tollway_settlement_blocked'],
  ])('%s has the same severity and threshold, and a section of the runbook', (code, severity, condition) => {
    const rule = rules.get(code);
    expect(rule?.labels).toEqual({ severity });
    expect(rule?.expr).toContain(condition);
    const titles = headingsOf(readPage('docs/runbook.md')).map(({ title }) => title);
    expect(titles).toContain(code);
  });
});
