import { csvLine } from '../../common/csv.ts';
import { printableJson } from '../../common/text.ts';
import type { AuditEntry, AuditValues } from './audit-log.ts';

/** Text formats of an export of the audit log. */
export const AUDIT_FORMATS = ['ndjson', 'csv'] as const;
export type AuditFormat = (typeof AUDIT_FORMATS)[number];

const COLUMNS = [
  ...(['id', 'at', 'actorType', 'actor', 'actorName', 'actorRole', 'action', 'subject'] as const),
  ...(['advertiserId', 'currency', 'before', 'after'] as const),
];

/** An entry as JSON has it: the id is a text, the time RFC 3339. */
export function auditJson({ id, at, ...entry }: AuditEntry) {
  return { id: String(id), at: at.toISOString(), ...entry };
}

/** An entry as CSV has it: `before` and `after` hold JSON. */
export function auditRow(entry: AuditEntry) {
  const { before, after, ...row } = auditJson(entry);
  const json = (values: AuditValues | null) => (values === null ? null : JSON.stringify(values));
  return { ...row, before: json(before), after: json(after) };
}

/** The text before the first entry. */
export function auditHeader(format: AuditFormat): string {
  return format === 'csv' ? `${csvLine(COLUMNS)}\n` : '';
}

/** The lines of entries. */
export function auditLines(format: AuditFormat, entries: readonly AuditEntry[]): string {
  const lineOf = (entry: AuditEntry) => {
    if (format === 'ndjson') return printableJson(auditJson(entry));
    const row = auditRow(entry);
    return csvLine(COLUMNS.map((column) => row[column]));
  };
  return entries.map((entry) => `${lineOf(entry)}\n`).join('');
}
