import { type Attempts, patch, post } from '../../api.ts';
import type { Ad, Advertiser, Campaign } from '../../entities.ts';
import { useSnapshot } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { Dialog } from '../../ui/dialog.tsx';
import { Form } from '../../ui/form.tsx';
import { notify } from '../../ui/toast.tsx';
import { useDraft } from '../../ui/use-draft.ts';
import { changesOf } from '../changes-of.ts';
import { checkCampaign } from './campaign-check.ts';
import { CampaignFields } from './campaign-fields.tsx';
import { bodyOf, NEW_CAMPAIGN, valuesOf } from './campaign-values.ts';

const words = texts.campaigns;

type NewProps = {
  readonly advertiser: Advertiser;
  readonly onDone: (campaign: Campaign) => void;
  readonly onClose: () => void;
};

/** Creates a campaign of an advertiser. */
export function NewCampaign({ advertiser, onDone, onClose }: NewProps) {
  const { id: advertiserId, name, currency, timeZone } = advertiser;
  const [values, set] = useDraft(NEW_CAMPAIGN);
  const submit = async (attempts: Attempts) => {
    const settings = bodyOf(values, timeZone);
    checkCampaign(settings);
    const body = { advertiserId, ...settings };
    const made = await post<Campaign>('/v1/campaigns', body, attempts);
    notify(words.create.done(made.name));
    onClose();
    onDone(made);
  };
  return (
    <Dialog title={words.create.title(name)} onClose={onClose} isWide>
      <Form onSubmit={submit} submit={words.create.submit} onCancel={onClose}>
        <CampaignFields {...{ values, set, currency }} zone={timeZone} />
      </Form>
    </Dialog>
  );
}

type EditProps = {
  readonly campaign: Campaign;
  /** Its ads, as far as they are known. */
  readonly ads: readonly Ad[];
  readonly etag: string | null;
  readonly onDone: () => void;
  readonly onClose: () => void;
};

/** Changes the settings of a campaign. Sends the changed ones only. */
export function EditCampaign({ campaign, ads, etag, onDone, onClose }: EditProps) {
  const path = `/v1/campaigns/${campaign.id}`;
  const zone = campaign.timeZone;
  const snapshot = useSnapshot(path, { data: campaign, etag });
  const before = valuesOf(snapshot.data);
  const [values, set] = useDraft(before);
  const submit = async () => {
    const settings = bodyOf(values, zone);
    checkCampaign(settings);
    const changes = changesOf(bodyOf(before, zone), settings);
    const { data } = await patch<Campaign>(path, changes, snapshot.etag);
    notify(words.edit.done(data.name));
    onClose();
    onDone();
  };
  return (
    <Dialog title={words.edit.title(campaign.name)} onClose={onClose} isWide>
      <Form onSubmit={submit} readAgain={snapshot.readAgain} submit={texts.controls.save} onCancel={onClose}>
        <CampaignFields {...{ values, set, zone, ads }} currency={campaign.currency} spent={campaign.spent} />
      </Form>
    </Dialog>
  );
}
