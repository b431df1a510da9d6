import { type Command, Option } from 'commander';
import { type ListFilter, STATUSES, type Status } from '../ledger/list-filter.ts';
import type { Output } from './context.ts';
import { parseId } from './parse.ts';

/** The options of a list, as commander passes them. */
export type ListOptions = Output & {
  advertiser?: number;
  campaign?: number;
  externalId?: string;
  status?: Status;
  all?: boolean;
};

/** Adds `--status` and `--all` to a list. */
export function withStatusOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--status <status>', `only those with this status: ${STATUSES.join(', ')}`).choices(
        STATUSES,
      ),
    )
    .option('--all', 'also archived ones, and those of load tests');
}

/** Adds `--advertiser` to a list. */
export function withAdvertiserOption(command: Command): Command {
  return command.option('--advertiser <id>', 'only those of this advertiser', parseId);
}

/** The filter of a list's options. */
export function filterOf({ advertiser, campaign, externalId, status, all }: ListOptions): ListFilter {
  return {
    ...(advertiser === undefined ? {} : { advertiserId: advertiser }),
    ...(campaign === undefined ? {} : { campaignId: campaign }),
    ...(externalId === undefined ? {} : { externalId }),
    ...(status === undefined ? {} : { status }),
    ...(all === undefined ? {} : { all }),
  };
}

/** What to print for an empty list: how to add the first thing, or how to see more. */
export function emptyText(
  { advertiser, campaign, externalId, status, all }: ListOptions,
  first: string,
): string {
  const isFiltered = [advertiser, campaign, externalId, status, all].some((option) => option !== undefined);
  if (!isFiltered) return `${first}. --all also lists archived ones`;
  return all ? 'Nothing matches' : 'Nothing matches. --all also lists archived ones';
}
