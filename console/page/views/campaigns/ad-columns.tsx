import type { Ad } from '../../entities.ts';
import { texts } from '../../texts.ts';
import type { Column } from '../../ui/table.tsx';
import { Amount, StatusTag } from '../../ui/values.tsx';

const words = texts.ads;

/** The columns of a list of ads, with their campaign and advertiser if they are of several. */
export function adColumns(hasCampaign: boolean): readonly Column<Ad>[] {
  const campaign: Column<Ad> = {
    label: words.columns.campaign,
    cell: ({ advertiserId, advertiserName, campaignId, campaignName }) => (
      <>
        <a class="break" href={`/campaigns/${campaignId}`}>
          {campaignName}
        </a>
        <span class="sub">
          <a class="break" href={`/advertisers/${advertiserId}`}>
            {advertiserName}
          </a>
        </span>
      </>
    ),
  };
  return [
    {
      label: words.columns.ad,
      cell: ({ id, name }) => (
        <>
          <a class="strong break" href={`/ads/${id}`}>
            {name ?? words.id(id)}
          </a>
          {name !== null && <span class="sub">{words.id(id)}</span>}
        </>
      ),
    },
    { label: words.columns.destination, cell: ({ urlTemplate }) => <span class="break">{urlTemplate}</span> },
    ...(hasCampaign ? [campaign] : []),
    { label: words.columns.status, cell: ({ status }) => <StatusTag status={status} /> },
    {
      label: words.columns.price,
      isNumber: true,
      cell: ({ price, currency }) => <Amount value={price} currency={currency} />,
    },
  ];
}
