import { useState } from 'preact/hooks';
import { ApiError, type Attempts, fieldError, get, post } from '../../api.ts';
import type { Advertiser } from '../../entities.ts';
import { formatAmount } from '../../format.ts';
import { texts } from '../../texts.ts';
import { Dialog } from '../../ui/dialog.tsx';
import { Form, TextField } from '../../ui/form.tsx';
import { Note } from '../../ui/state.tsx';
import { notify } from '../../ui/toast.tsx';
import { referenceOf } from '../clicks/clicks-view.tsx';
import type { Story } from '../clicks/story.ts';

const words = texts.advertisers.credit;

type Props = {
  readonly advertiser: Advertiser;
  readonly onDone: () => void;
  readonly onClose: () => void;
};

/** A click that can be credited, by the text that named it. */
type Found = { readonly text: string; readonly clickId: string; readonly charged: string };
type Credited = { readonly entered: boolean };

/** Gives the charge of a click of an advertiser back. Shows first what is given to whom. */
export function CreditClick({ advertiser, onDone, onClose }: Props) {
  const { name, currency } = advertiser;
  const [text, setText] = useState('');
  const [found, setFound] = useState<Found | null>(null);
  const click = found?.text === text ? found : null;
  const charge = click && `${formatAmount(click.charged, currency)} ${currency}`;
  const submit = async (attempts: Attempts) => {
    if (click === null || charge === null) return setFound(await findCharge(text, advertiser));
    const { entered } = await post<Credited>(`/v1/clicks/${click.clickId}/credit`, undefined, attempts);
    notify(entered ? words.done(charge, name) : words.repeated);
    onClose();
    onDone();
  };
  return (
    <Dialog title={words.title} onClose={onClose}>
      <Form onSubmit={submit} submit={charge === null ? words.find : words.submit(charge)} onCancel={onClose}>
        <p class="soft">{words.about}</p>
        <TextField
          {...{ label: words.click, name: 'clickId', hint: words.clickHint, value: text }}
          onChange={setText}
          autoFocus
        />
        <div role="status">{charge !== null && <Note>{texts.clicks.credit.lead(charge, name)}</Note>}</div>
      </Form>
    </Dialog>
  );
}

/** The click that a text names, if its charge can be given back to the advertiser. Throws `ApiError`. */
async function findCharge(text: string, { id, name }: Advertiser): Promise<Found> {
  const refuse = (detail: string) => fieldError('clickId', detail);
  const reference = referenceOf(text);
  if (reference === '') throw refuse(words.missing);
  const story = await get<Story>(`/v1/clicks/${encodeURIComponent(reference)}`).catch((error: unknown) => {
    const isRefused = error instanceof ApiError && (error.status === 400 || error.status === 404);
    throw isRefused ? refuse(error.message) : error;
  });
  const { advertiserId, clickId, charged, credited, outcome, explanation } = story;
  if (advertiserId !== null && advertiserId !== id) {
    const owner = await get<Advertiser>(`/v1/advertisers/${advertiserId}`);
    throw refuse(words.ofAnother(owner.name, name));
  }
  if (outcome !== 'charged' || clickId === null || charged === null) throw refuse(explanation);
  if (Number(credited) !== 0) throw refuse(words.repeated);
  return { text, clickId, charged };
}
