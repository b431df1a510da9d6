import type { Pool } from '../../common/postgres/postgres.ts';
import { prepared } from '../../common/postgres/prepared.ts';
import { type Component, type PartNumbers, parseNumbers } from './part-numbers.ts';

/** A part that has not reported for this long, in ms, does not answer. A report comes every `REPORT_MS`. */
export const NO_ANSWER_MS = 10_000;
/** The rows of parts that have not reported for this long are deleted, in hours. */
const KEPT_HOURS = 24;
/** Most rows of parts that do not answer; the oldest are deleted, so that a process that is killed again and again does not fill the table. */
const KEPT_MAX = 200;

/** Names one run of a process. */
export type PartRun = {
  readonly component: Component;
  /** Host name and operations port, such as `web-1:8081`. A restart has the same, so its row replaces the one before. */
  readonly instance: string;
  readonly startedAt: Date;
};

/** What a process says about itself. */
export type PartReport = PartRun & {
  readonly version: string;
  /** Why it is not ready; empty when it is. */
  readonly problems: readonly string[];
  /** Problems that do not affect readiness. */
  readonly warnings: readonly string[];
  readonly numbers: PartNumbers[Component];
};

/**
 * `no_answer`: it has not reported for {@link NO_ANSWER_MS}. `unknown`: the same, but the database took no reports in that time, so the part
 * may run. Everything else of its row is as of `reportedAt` then.
 */
export const PART_STATES = ['ready', 'warning', 'not_ready', 'no_answer', 'unknown'] as const;
export type PartState = (typeof PART_STATES)[number];

/** A process of one component, as it reported last. */
export type PartOf<C extends Component> = Omit<PartReport, 'component' | 'numbers'> & {
  readonly component: C;
  readonly numbers: PartNumbers[C];
  readonly reportedAt: Date;
  readonly state: PartState;
};
export type Part = { [C in Component]: PartOf<C> }[Component];

/** Whether a part has reported lately, so that its numbers are true. */
export function isAnswering({ state }: Pick<Part, 'state'>): boolean {
  return state !== 'no_answer' && state !== 'unknown';
}

/** The parts of a component that answer. */
export function answeringParts<C extends Part['component']>(
  parts: readonly Part[],
  component: C,
): PartOf<C>[] {
  // The cast is safe: a part of this component has its type.
  return parts.filter((part) => part.component === component && isAnswering(part)) as PartOf<C>[];
}

/** Writes the row of a part. The clock of the database stamps it. */
export async function reportPart(pool: Pool, report: PartReport): Promise<void> {
  const { component, instance, version, startedAt, problems, warnings, numbers } = report;
  await pool.query(
    `insert into part (component, instance, version, started_at, reported_at, problems, warnings, numbers)
     values ($1, $2, $3, $4, statement_timestamp(), $5, $6, $7)
     on conflict (component, instance) do update set version = excluded.version, started_at = excluded.started_at,
       reported_at = excluded.reported_at, problems = excluded.problems, warnings = excluded.warnings, numbers = excluded.numbers`,
    [component, instance, version, startedAt, problems, warnings, JSON.stringify(numbers)],
  );
}

/** Deletes the row of a process that was stopped, unless a later process has replaced it. */
export async function removePart(pool: Pool, { component, instance, startedAt }: PartRun): Promise<void> {
  await pool.query('delete from part where component = $1 and instance = $2 and started_at = $3', [
    component,
    instance,
    startedAt,
  ]);
}

/** Deletes the rows of parts that have not reported for a day, and the oldest of those that do not answer if there are too many. */
export async function deleteOldParts(pool: Pool): Promise<void> {
  await pool.query(
    `delete from part using (
       select component as dead_component, instance as dead_instance, reported_at as died_at,
         row_number() over (order by reported_at desc) as place
       from part where reported_at < statement_timestamp() - make_interval(secs => $1)
     ) dead
     where component = dead_component and instance = dead_instance and reported_at = died_at
       and (place > $2 or died_at < statement_timestamp() - make_interval(hours => $3))`,
    [NO_ANSWER_MS / 1_000, KEPT_MAX, KEPT_HOURS],
  );
}

type Row = Omit<PartReport, 'numbers'> & {
  readonly reportedAt: Date;
  readonly hasReported: boolean;
  readonly numbers: unknown;
};

/** Returns all parts, by component and instance, and the time of the database. */
export async function readParts(pool: Pool): Promise<{ readonly asOf: Date; readonly parts: Part[] }> {
  const { rows } = await pool.query<{ asOf: Date } & { [K in keyof Row]: Row[K] | null }>(
    prepared(
      `select as_of as "asOf", component, instance, version, started_at as "startedAt", reported_at as "reportedAt", problems, warnings, numbers,
       reported_at >= as_of - make_interval(secs => $1) as "hasReported"
     from (select statement_timestamp() as as_of) clock left join part on true order by component, instance`,
      [NO_ANSWER_MS / 1_000],
    ),
  );
  const asOf = rows[0]?.asOf;
  if (!asOf) throw new Error('Expected at least one row, got none');
  // Without a part, the outer join returns one row whose other columns are null.
  const parts = rows.flatMap((row) => (row.component === null ? [] : [toPart(row as Row)]));
  return { asOf, parts };
}

function toPart({ component, hasReported, numbers, ...row }: Row): Part {
  const { instance, version, startedAt, reportedAt, problems, warnings } = row;
  const common = {
    instance,
    version,
    startedAt,
    reportedAt,
    problems,
    warnings,
    state: stateOf(row, hasReported),
  };
  switch (component) {
    case 'ad-server':
      return { ...common, component, numbers: parseNumbers[component](numbers) };
    case 'processor':
      return { ...common, component, numbers: parseNumbers[component](numbers) };
    case 'console':
      return { ...common, component, numbers: parseNumbers[component](numbers) };
    default:
      return component satisfies never;
  }
}

function stateOf(
  { problems, warnings }: Pick<PartReport, 'problems' | 'warnings'>,
  hasReported: boolean,
): PartState {
  if (!hasReported) return 'no_answer';
  if (problems.length > 0) return 'not_ready';
  return warnings.length > 0 ? 'warning' : 'ready';
}
