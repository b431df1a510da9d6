import { once } from 'node:events';
import { type Command, Option } from 'commander';
import { parseTime } from '../../common/parse-time.ts';
import type { Pool } from '../../common/postgres/postgres.ts';
import {
  type AuditEntry,
  type AuditFilter,
  boundAudit,
  exportAudit,
  listAudit,
} from '../../ledger/access/audit-log.ts';
import {
  AUDIT_FORMATS,
  type AuditFormat,
  auditHeader,
  auditJson,
  auditLines,
  auditRow,
} from '../../ledger/access/audit-text.ts';
import { readAdvertiser } from '../../ledger/accounts/advertisers.ts';
import { type Names, readNames } from '../../ledger/names.ts';
import { group, type Output, plainCommand, rowsCommand, withDatabase } from '../context.ts';
import { parseCount, parseId } from '../parse.ts';
import { beyondId, printPages } from '../print-pages.ts';
import { withName } from '../with-name.ts';

type FilterOptions = {
  advertiser?: number;
  actor?: string;
  action?: string;
  subject?: string;
  since?: Date;
  until?: Date;
};

function withFilterOptions(command: Command): Command {
  return command
    .option('--advertiser <id>', 'only changes of this advertiser, its budget, campaigns and ads', parseId)
    .option('--actor <name>', 'only changes of this user, component, database role or API key (id or name)')
    .option('--action <action>', 'only this action, such as campaign.update, or all of campaign')
    .option('--subject <id>', 'only changes of what has this id')
    .option('--since <time>', 'only changes at or after this time', parseTime)
    .option('--until <time>', 'only changes before this time', parseTime);
}

function filterOf({ advertiser, actor, action, subject, since, until }: FilterOptions): AuditFilter {
  return {
    ...(advertiser !== undefined && { advertiserIds: [advertiser] }),
    ...(actor !== undefined && { actor }),
    ...(action !== undefined && { action }),
    ...(subject !== undefined && { subject }),
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
  };
}

/** A row for a person, with names beside ids. */
function toTableRow(entry: AuditEntry, names: Names) {
  const { id, at, actorType, actor, actorName, action, subject, advertiserId } = entry;
  const nameOf = SUBJECT_NAMES[action.split('.')[0] ?? ''];
  return {
    id: String(id),
    at: at.toISOString(),
    actor: `${actorType} ${withName(actor, actorName)}`,
    action,
    subject: withName(subject, nameOf?.(names).get(Number(subject))),
    advertiserId,
    advertiserName: advertiserId === null ? null : (names.advertisers.get(advertiserId) ?? null),
    changes: changesOf(entry, names),
  };
}

/** The names of the subjects of actions such as `campaign.update`. That of an advertiser has a column of its own. */
const SUBJECT_NAMES: Readonly<Record<string, (names: Names) => ReadonlyMap<number, string>>> = {
  campaign: ({ campaigns }) => campaigns,
  ad: ({ ads }) => ads,
};

/** The names of the advertisers, campaigns and ads that entries are about. */
function namesOf(pool: Pool, entries: readonly AuditEntry[]): Promise<Names> {
  const subjectsOf = (kind: string) =>
    entries.filter(({ action }) => action.startsWith(`${kind}.`)).map(({ subject }) => Number(subject));
  const valuesOf = (name: string) =>
    entries.flatMap(({ before, after }) => [before, after].flatMap((values) => idsOf(values?.[name])));
  const ofKeys = valuesOf('advertiserIds');
  return readNames(
    pool,
    [...entries.flatMap(({ advertiserId }) => advertiserId ?? []), ...ofKeys],
    [...subjectsOf('campaign'), ...valuesOf('campaignId')],
    subjectsOf('ad'),
  );
}

/** The ids in a value: one, or those of an array. */
function idsOf(value: unknown): number[] {
  return [value].flat().filter((id) => typeof id === 'number');
}

function changesOf({ before, after }: AuditEntry, { advertisers, campaigns }: Names): string {
  const named = (value: unknown, names: ReadonlyMap<number, string>) =>
    idsOf(value)
      .map((id) => withName(id, names.get(id)))
      .join(', ');
  const text = (name: string, value: unknown) => {
    if (value === null || value === undefined) return 'none';
    if (name === 'campaignId') return named(value, campaigns);
    if (name === 'advertiserId' || name === 'advertiserIds') return named(value, advertisers);
    return typeof value === 'string' ? value : JSON.stringify(value);
  };
  return Object.entries(after ?? {})
    .map(([name, value]) => {
      const old = before === null ? '' : `${text(name, before[name])} → `;
      return `${name}: ${old}${text(name, value)}`;
    })
    .join(', ');
}

const list = withFilterOptions(
  rowsCommand('list', 'List who changed what, newest first', [
    'audit list',
    'audit list --advertiser 1 --since 7d',
    'audit list --action campaign --subject 2 --json',
  ]),
)
  .option('--limit <n>', 'number of rows at most', parseCount, 100)
  .action(async ({ limit, format, ...options }: Output & FilterOptions & { limit: number }) => {
    await withDatabase(async (pool) => {
      if (options.advertiser !== undefined) await readAdvertiser(pool, options.advertiser);
      const filter = filterOf(options);
      await printPages(
        {
          read: beyondId<AuditEntry>((page) => listAudit(pool, { ...filter, ...page })),
          toRows: async (entries) => {
            if (format === 'csv') return entries.map(auditRow);
            const names = await namesOf(pool, entries);
            return entries.map((entry) => toTableRow(entry, names));
          },
          toJson: auditJson,
          empty: 'Nothing matches.',
        },
        { format, limit },
      );
    });
  });

type ExportOptions = FilterOptions & { format: AuditFormat };

const exportCommand = withFilterOptions(
  plainCommand('export', 'Export who changed what, oldest first', [
    'audit export > audit.ndjson',
    'audit export --since 2026-01-01 --until 2026-02-01 --format csv > january.csv',
  ]),
)
  .addOption(
    new Option('--format <format>', `format of the rows: ${AUDIT_FORMATS.join(', ')}`)
      .choices(AUDIT_FORMATS)
      .default('ndjson' satisfies AuditFormat),
  )
  .action(async ({ format, ...options }: ExportOptions) => {
    await withDatabase(async (pool) => {
      if (options.advertiser !== undefined) await readAdvertiser(pool, options.advertiser);
      const period = await boundAudit(pool, filterOf(options));
      process.stdout.write(auditHeader(format));
      await exportAudit(pool, period, async (entries) => {
        if (!process.stdout.write(auditLines(format, entries))) await once(process.stdout, 'drain');
      });
      process.stderr.write(`until: ${period.until.toISOString()}\n`);
    });
  });

export const audit = group('audit', 'Show who changed settings and budgets, and when', [list, exportCommand]);
