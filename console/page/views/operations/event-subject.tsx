import type * as z from 'zod';
import type { WebhookEvent } from '../../../api/routes/webhook-deliveries.ts';
import { texts } from '../../texts.ts';

const { webhooks: words, webhookEvents: eventWords } = texts.operations;

type Props = Pick<z.input<typeof WebhookEvent>, 'advertiserId' | 'data'> & {
  /** The name of the advertiser; `null` without one. */
  readonly name: string | null;
};

/** What an event is about: the advertiser, and its campaign with the cap that is reached, or the whole installation. */
export function EventSubject({ advertiserId, name, data }: Props) {
  if (advertiserId === null) return <span class="soft">{words.everything}</span>;
  return (
    <>
      <a class="break" href={`/advertisers/${advertiserId}`}>
        {name ?? String(advertiserId)}
      </a>
      <CampaignOf data={data} />
    </>
  );
}

/** The campaign that an event is about, and which of its caps; nothing if it is about none. */
function CampaignOf({ data: { campaignId, campaignName, cap } }: Pick<Props, 'data'>) {
  if (campaignId === undefined) return null;
  return (
    <span class="sub break">
      <a href={`/campaigns/${campaignId}`}>{String(campaignName)}</a>
      {typeof cap === 'string' && `, ${eventWords.ofCap[cap] ?? cap}`}
    </span>
  );
}
