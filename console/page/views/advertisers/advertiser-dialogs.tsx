import type { Advertiser } from '../../entities.ts';
import { go } from '../../router.ts';
import { StatusChange, type StatusTarget } from '../../ui/status-change.tsx';
import { NewCampaign } from '../campaigns/campaign-form.tsx';
import { CreditClicks } from '../credits/credit-clicks.tsx';
import { EditAdvertiser } from './advertiser-forms.tsx';
import { BudgetChange } from './budget-forms.tsx';
import { CreditClick } from './credit-click.tsx';

export type AdvertiserDialog =
  | 'top_up'
  | 'adjust'
  | 'credit'
  | 'credits'
  | 'edit'
  | 'campaign'
  | StatusTarget;

type DialogsProps = {
  readonly advertiser: Advertiser;
  readonly etag: string | null;
  readonly dialog: AdvertiserDialog | null;
  readonly onDone: () => void;
  readonly onClose: () => void;
};

/** The dialog of an advertiser that is open, if any. */
export function AdvertiserDialogs({ advertiser, etag, dialog, onDone, onClose }: DialogsProps) {
  const common = { advertiser, onDone, onClose };
  if (dialog === null) return null;
  if (dialog === 'top_up') return <BudgetChange kind="top_up" {...common} />;
  if (dialog === 'adjust') return <BudgetChange kind="adjustment" {...common} />;
  if (dialog === 'credit') return <CreditClick {...common} />;
  if (dialog === 'credits') return <CreditClicks {...common} />;
  if (dialog === 'edit') return <EditAdvertiser {...common} etag={etag} />;
  if (dialog === 'campaign')
    return <NewCampaign {...common} onDone={(made) => go(`/campaigns/${made.id}`)} />;
  return (
    <StatusChange
      kind="advertiser"
      name={advertiser.name}
      path={`/v1/advertisers/${advertiser.id}`}
      opened={{ data: advertiser, etag }}
      status={dialog}
      {...{ onDone, onClose }}
    />
  );
}
