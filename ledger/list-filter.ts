import type { ClickFilter } from './click-filter.ts';

export const STATUSES = ['active', 'paused', 'archived'] as const;
/** The status of an advertiser, a campaign or an ad. Clicks are charged only if all three are active. */
export type Status = (typeof STATUSES)[number];

/** Limits a list of advertisers, campaigns or ads. */
export type ListFilter = ClickFilter & {
  /** Only those with this status. `archived` also finds those whose campaign or advertiser is archived. */
  readonly status?: Status;
  /** Also archived ones, and those of load tests. */
  readonly all?: boolean;
};

type Table = 'advertiser' | 'campaign' | 'ad';

/**
 * The SQL condition of a list and its parameters. `tables` are those of the query, that of the listed rows first, `advertiser` last.
 * Archived rows, those of an archived campaign or advertiser, and those of load tests are left out unless the filter asks for them.
 */
export function listCondition(
  tables: readonly [...Table[], 'advertiser'],
  { status, all = false, advertiserId, campaignId }: ListFilter,
): { condition: string; values: unknown[] } {
  const isArchived = `'archived' in (${tables.map((table) => `${table}.status`).join(', ')})`;
  const conditions = ['($1::integer is null or advertiser.id = $1)'];
  const values: unknown[] = [advertiserId ?? null];
  const addCondition = (text: string, value: unknown) =>
    conditions.push(text.replace('?', `$${values.push(value)}`));
  if (campaignId !== undefined) addCondition('campaign.id = ?', campaignId);
  if (status === 'archived') conditions.push(isArchived);
  else if (status !== undefined) addCondition(`${tables[0]}.status = ?`, status);
  if (!all) conditions.push('not advertiser.is_test');
  if (!all && status !== 'archived') conditions.push(`not ${isArchived}`);
  return { condition: conditions.join(' and '), values };
}
