import type { ClickFilter } from './click-filter.ts';
import type { Status } from './status.ts';

/** A page of a list, which is ordered by id. Absent fields: from the first row on, to the last one. */
export type Page<Id extends number | bigint = number> = {
  /** Only rows with a higher id: that of the last row of the page before. */
  readonly after?: Id;
  readonly limit?: number;
};

/** Limits a list of advertisers, campaigns or ads. */
export type ListFilter = ClickFilter &
  Page & {
    /** Only those with this status. `archived` also finds those whose campaign or advertiser is archived. */
    readonly status?: Status | undefined;
    /** Also archived ones, and those of load tests. */
    readonly all?: boolean;
    /** Only those of these advertisers, which are all that an API key may see; `null`: of all. */
    readonly advertiserIds?: readonly number[] | null;
    /**
     * Only those whose name contains this text, in upper or lower case. The locale of the database decides which letters outside of ASCII
     * correspond. An ad without a name is not found.
     */
    readonly search?: string | undefined;
    /** Only campaigns with this external id, at most one of each advertiser. */
    readonly externalId?: string | undefined;
    /** Only those with these ids. */
    readonly ids?: readonly number[] | undefined;
    /** Only campaigns whose daily cap is reached on the present day. */
    readonly dailyCapReached?: boolean | undefined;
  };

/** The first condition leaves few rows, for which the day in the time zone is computed: no zone is more than a day from UTC. */
const DAILY_CAP_REACHED = `campaign.daily_cap_reached_on >= (now() at time zone 'UTC')::date - 1
  and campaign.daily_cap_micros is not null and campaign.daily_cap_reached_on = known_day(now(), advertiser.time_zone)`;

type Table = 'advertiser' | 'campaign' | 'ad';

/** SQL of a list: the condition of its rows, the clauses that select its page, and the parameters of both. */
type ListSql = { readonly condition: string; readonly page: string; readonly values: readonly unknown[] };

/**
 * Returns the SQL of a list. `tables` are those of the query, that of the listed rows first, `advertiser` last. Archived rows, those of an
 * archived campaign or advertiser, and those of load tests are left out unless the filter asks for them.
 */
export function listCondition(
  tables: readonly [...Table[], 'advertiser'],
  {
    status,
    all = false,
    advertiserId,
    campaignId,
    advertiserIds,
    search,
    externalId,
    ids,
    dailyCapReached = false,
    after,
    limit,
  }: ListFilter,
): ListSql {
  const [listed] = tables;
  const idOf = (table: Table) => (table === listed ? `${table}.id` : `${listed}.${table}_id`);
  const conditions = ['true'];
  const values: unknown[] = [];
  const add = (value: unknown, condition: (parameter: string) => string) => {
    if (value !== undefined && value !== null) conditions.push(condition(`$${values.push(value)}`));
  };
  add(ids, (wanted) => `${listed}.id = any(${wanted}::integer[])`);
  add(after, (id) => `${listed}.id > ${id}`);
  add(advertiserId, (id) => `${idOf('advertiser')} = ${id}`);
  add(advertiserIds, (ids) => `${idOf('advertiser')} = any(${ids}::integer[])`);
  add(campaignId, (id) => `${idOf('campaign')} = ${id}`);
  const isOfAll = (advertiserId ?? campaignId ?? advertiserIds ?? ids ?? null) === null;
  add(search, (text) => searchCondition(listed, text, isOfAll));
  add(externalId, (id) => `campaign.external_id = ${id}`);
  if (dailyCapReached) conditions.push(DAILY_CAP_REACHED);
  // Subqueries, because PostgreSQL runs each once: a join would look up the campaign and the advertiser of every ad.
  const ofArchived = (table: Table) =>
    `${idOf(table)} in (select id from ${table} where status = 'archived')`;
  if (status === 'archived') conditions.push(`(${tables.map(ofArchived).join(' or ')})`);
  else add(status, (value) => `${listed}.status = ${value}`);
  if (!all) conditions.push('not advertiser.is_test');
  if (!all && status !== 'archived')
    conditions.push(...tables.map((table) => `${table}.status <> 'archived'`));
  return {
    condition: conditions.join(' and '),
    page: `order by ${listed}.id limit $${values.push(limit ?? null)}::bigint`,
    values,
  };
}

/** SQL of the rows whose name contains a text. `isOfAll`: the list has no filter that leaves few rows. */
function searchCondition(listed: Table, text: string, isOfAll: boolean): string {
  // Subqueries run once; the plan of a prepared statement would run lower() for each row.
  const contains = (name: string) => `strpos(${name}, (select lower(${text}))) > 0`;
  if (listed !== 'ad') return contains(`lower(${listed}.name)`);
  // There can be many ads. To read the whole table first takes half as long as to read it by its index, which the order by id would choose.
  if (isOfAll) return `ad.id = any(array(select id from ad where ${contains('name_lower')}))`;
  return contains('ad.name_lower');
}
