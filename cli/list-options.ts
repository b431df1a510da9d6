import { type Command, Option } from 'commander';
import type { ListFilter } from '../ledger/list-filter.ts';
import { STATUSES, type Status } from '../ledger/status.ts';
import type { Output } from './context.ts';
import { parseId } from './parse.ts';

/** The options of a list, as commander passes them. */
export type ListOptions = Output & {
  advertiser?: number;
  campaign?: number;
  externalId?: string;
  search?: string;
  status?: Status;
  all?: boolean;
};

/** What `--search` of a list does. */
export const SEARCH = 'only those whose name contains this text, in upper or lower case';

/** Adds `--status` and `--all` to a list. `all`: what the list then has too. */
export function withStatusOptions(
  command: Command,
  all = 'also archived ones, and those of load tests',
): Command {
  return command
    .addOption(
      new Option('--status <status>', `only those with this status: ${STATUSES.join(', ')}`).choices(
        STATUSES,
      ),
    )
    .option('--all', all);
}

/** Adds `--advertiser` to a list. */
export function withAdvertiserOption(command: Command): Command {
  return command.option('--advertiser <id>', 'only those of this advertiser', parseId);
}

/** The filter of a list's options. */
export function filterOf({ advertiser, campaign, externalId, search, status, all }: ListOptions): ListFilter {
  return {
    ...(advertiser === undefined ? {} : { advertiserId: advertiser }),
    ...(campaign === undefined ? {} : { campaignId: campaign }),
    ...(externalId === undefined ? {} : { externalId }),
    ...(search === undefined ? {} : { search }),
    ...(status === undefined ? {} : { status }),
    ...(all === undefined ? {} : { all }),
  };
}

/** What to print for an empty list: how to add the first thing, or how to see more. */
export function emptyText(
  { advertiser, campaign, externalId, search, status, all }: ListOptions,
  first: string,
): string {
  const isFiltered = [advertiser, campaign, externalId, search, status, all].some(
    (option) => option !== undefined,
  );
  if (!isFiltered) return `${first}. --all also lists archived ones`;
  return all ? 'Nothing matches' : 'Nothing matches. --all also lists archived ones';
}
