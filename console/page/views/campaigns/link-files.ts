import { csvLine } from '../../../../common/csv.ts';

/** Links that were made in one go. */
export type MadeLinks = {
  readonly adId: number;
  readonly adName: string | null;
  readonly isEvergreen: boolean;
  readonly publisher: string | null;
  readonly links: readonly string[];
};

/** The links as a text, one a line. */
export const linksText = ({ links }: MadeLinks): string => `${links.join('\n')}\n`;

/** The links as CSV. */
export function linksCsv({ adId, adName, isEvergreen, publisher, links }: MadeLinks): string {
  const kind = isEvergreen ? 'evergreen' : 'impression';
  const lines = links.map((link) => csvLine([link, adId, adName ?? '', publisher ?? '', kind]));
  return `${['link,ad_id,ad_name,publisher,kind', ...lines].join('\n')}\n`;
}
