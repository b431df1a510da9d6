import type { QueryValues } from '../api.ts';
import { query, setQuery } from '../router.ts';
import { texts } from '../texts.ts';
import { SelectField } from './form.tsx';
import { QueryField } from './query-field.tsx';

const STATUSES = ['', 'active', 'paused', 'archived', 'all'] as const;

/** The filters of a list of advertisers, campaigns or ads, which stand in the address. */
export function ListFilters() {
  const status = query.value.get('status') ?? '';
  const words = texts.advertisers.filters;
  const labels: Readonly<Record<string, string>> = { '': words.current, all: words.all, ...texts.status };
  return (
    <search class="filters">
      <QueryField name="search" label={texts.controls.search} />
      <SelectField
        label={words.status}
        value={STATUSES.find((one) => one === status) ?? ''}
        options={STATUSES.map((value) => ({ value, label: labels[value] ?? value }))}
        onChange={(value) => setQuery({ status: value })}
      />
    </search>
  );
}

/** The filters of the address as the API takes them. */
export function listQuery(): QueryValues {
  const status = query.value.get('status');
  const search = query.value.get('search');
  return { search, ...(status === 'all' ? { all: true } : { status }) };
}

/** Whether a filter is set: an empty list then does not mean that nothing exists. */
export const isFiltered = (): boolean => query.value.has('status') || query.value.has('search');

/** Removes the filters. */
export const clearFilters = (): void => setQuery({ status: undefined, search: undefined });
