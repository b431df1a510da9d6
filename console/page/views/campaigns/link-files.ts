/** Links that were made in one go. */
export type MadeLinks = {
  readonly adId: number;
  readonly isEvergreen: boolean;
  readonly publisher: string | null;
  readonly links: readonly string[];
};

/** The links as a text, one a line. */
export const linksText = ({ links }: MadeLinks): string => `${links.join('\n')}\n`;

/** The links as CSV. Links and publishers have no characters that CSV has to quote. */
export function linksCsv({ adId, isEvergreen, publisher, links }: MadeLinks): string {
  const kind = isEvergreen ? 'evergreen' : 'impression';
  const lines = links.map((link) => `${link},${adId},${publisher ?? ''},${kind}`);
  return `${['link,ad_id,publisher,kind', ...lines].join('\n')}\n`;
}
