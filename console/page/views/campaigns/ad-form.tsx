import { restOf } from '../../amounts.ts';
import { type Attempts, patch, post } from '../../api.ts';
import { isAbove } from '../../charge-state.ts';
import type { Ad, Campaign } from '../../entities.ts';
import { formatAmount } from '../../format.ts';
import { useSnapshot } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { Dialog } from '../../ui/dialog.tsx';
import { Form, TextField } from '../../ui/form.tsx';
import { notify } from '../../ui/toast.tsx';
import { useDraft } from '../../ui/use-draft.ts';
import { changesOf } from '../changes-of.ts';

const words = texts.ads;

type AdValues = {
  readonly name: string;
  readonly price: string;
  readonly urlTemplate: string;
  readonly passParameters: string;
};

const bodyOf = ({ name, price, urlTemplate, passParameters }: AdValues) => ({
  name: name.trim() || null,
  price: price.trim(),
  urlTemplate: urlTemplate.trim(),
  passParameters: passParameters.split(/[\s,]+/).filter(Boolean),
});

type NewProps = {
  readonly campaign: Campaign;
  readonly onDone: (ad: Ad) => void;
  readonly onClose: () => void;
};

/** Adds an ad to a campaign. */
export function NewAd({ campaign, onDone, onClose }: NewProps) {
  const [values, set] = useDraft<AdValues>({ name: '', price: '', urlTemplate: '', passParameters: '' });
  const submit = async (attempts: Attempts) => {
    const made = await post<Ad>('/v1/ads', { campaignId: campaign.id, ...bodyOf(values) }, attempts);
    notify(words.create.done(words.name(made.id, made.name)));
    onClose();
    onDone(made);
  };
  return (
    <Dialog title={words.create.title(campaign.name)} onClose={onClose}>
      <Form onSubmit={submit} submit={words.create.submit} onCancel={onClose}>
        <AdFields {...{ values, set, campaign }} />
      </Form>
    </Dialog>
  );
}

type EditProps = {
  readonly ad: Ad;
  readonly campaign: Campaign;
  readonly etag: string | null;
  readonly onDone: () => void;
  readonly onClose: () => void;
};

/** Changes an ad. Sends the changed fields only. */
export function EditAd({ ad, campaign, etag, onDone, onClose }: EditProps) {
  const path = `/v1/ads/${ad.id}`;
  const snapshot = useSnapshot(path, { data: ad, etag });
  const { name, price, urlTemplate, passParameters } = snapshot.data;
  const before: AdValues = {
    name: name ?? '',
    price,
    urlTemplate,
    passParameters: passParameters.join(', '),
  };
  const [values, set] = useDraft(before);
  const submit = async () => {
    const { data } = await patch<Ad>(path, changesOf(bodyOf(before), bodyOf(values)), snapshot.etag);
    notify(words.edit.done(words.name(data.id, data.name)));
    onClose();
    onDone();
  };
  return (
    <Dialog title={words.edit.title(words.name(ad.id, ad.name))} onClose={onClose}>
      <Form onSubmit={submit} readAgain={snapshot.readAgain} submit={texts.controls.save} onCancel={onClose}>
        <AdFields {...{ values, set, campaign }} />
        <p class="soft">{words.edit.about}</p>
      </Form>
    </Dialog>
  );
}

type FieldsProps = {
  readonly values: AdValues;
  readonly set: (changes: Partial<AdValues>) => void;
  readonly campaign: Campaign;
};

/** What a price does that is above a cap of the campaign. */
function warningOf(price: string, { cap, spent, dailyCap, currency }: Campaign): string | undefined {
  const amountOf = (amount: string | null) => `${formatAmount(amount ?? '', currency)} ${currency}`;
  if (isAbove(price, cap)) return words.fields.aboveCap(amountOf(cap));
  if (isAbove(price, dailyCap)) return words.fields.aboveDailyCap(amountOf(dailyCap));
  const rest = cap && restOf(cap, spent ?? '0');
  return isAbove(price, rest) ? words.fields.aboveCapLeft(amountOf(rest)) : undefined;
}

function AdFields({ values, set, campaign }: FieldsProps) {
  const { fields } = words;
  return (
    <>
      <TextField
        {...{ label: fields.name, name: 'name', hint: fields.nameHint, value: values.name }}
        onChange={(name) => set({ name })}
        isOptional
        autoFocus
      />
      <TextField
        {...{ label: fields.price, name: 'price', hint: fields.priceHint, value: values.price }}
        onChange={(price) => set({ price })}
        unit={campaign.currency}
        warning={warningOf(values.price, campaign)}
        inputMode="decimal"
      />
      <TextField
        {...{ label: fields.urlTemplate, name: 'urlTemplate', hint: fields.urlTemplateHint }}
        value={values.urlTemplate}
        onChange={(urlTemplate) => set({ urlTemplate })}
        placeholder="https://example.com/?click={click_id}"
      />
      <TextField
        {...{ label: fields.passParameters, name: 'passParameters', hint: fields.passParametersHint }}
        value={values.passParameters}
        onChange={(passParameters) => set({ passParameters })}
        isOptional
      />
    </>
  );
}
