import { type Attempts, patch, post } from '../../api.ts';
import type { Advertiser } from '../../entities.ts';
import { viewerZone } from '../../format.ts';
import { useResource, useSnapshot } from '../../resource.ts';
import { texts } from '../../texts.ts';
import { Dialog } from '../../ui/dialog.tsx';
import { Form, TextField } from '../../ui/form.tsx';
import { FOUND_MAX, SEARCH_CHARS_MAX } from '../../ui/picker.tsx';
import { Note } from '../../ui/state.tsx';
import { notify } from '../../ui/toast.tsx';
import { useDraft } from '../../ui/use-draft.ts';
import { changesOf } from '../changes-of.ts';
import { TimeZoneField } from './time-zone-field.tsx';

const words = texts.advertisers;

type NewProps = {
  readonly onDone: (advertiser: Advertiser) => void;
  readonly onClose: () => void;
};

/** Whether another advertiser has this name. */
function useIsTaken(name: string): boolean {
  const text = name.trim();
  const search = text.slice(0, SEARCH_CHARS_MAX);
  const path = text === '' ? null : '/v1/advertisers';
  const { data } = useResource<{ items: readonly Advertiser[] }>(path, {
    ...{ search, all: true, limit: FOUND_MAX },
  });
  return data?.items.some((other) => other.name.toLowerCase() === text.toLowerCase()) ?? false;
}

/** Creates an advertiser. */
export function NewAdvertiser({ onDone, onClose }: NewProps) {
  const [values, set] = useDraft({ name: '', currency: 'USD', timeZone: viewerZone });
  const { create } = words;
  const isTaken = useIsTaken(values.name);
  const submit = async (attempts: Attempts) => {
    const made = await post<Advertiser>('/v1/advertisers', values, attempts);
    notify(create.done(made.name));
    onClose();
    onDone(made);
  };
  return (
    <Dialog title={create.title} onClose={onClose}>
      <Form onSubmit={submit} submit={create.submit} onCancel={onClose}>
        <TextField
          {...{ label: create.name, name: 'name', hint: create.nameHint, value: values.name }}
          onChange={(name) => set({ name })}
          autoFocus
        />
        {isTaken && <Note tone="warn">{create.nameTaken}</Note>}
        <div class="pair">
          <TextField
            {...{ label: create.currency, name: 'currency', hint: create.currencyHint }}
            value={values.currency}
            onChange={(currency) => set({ currency: currency.toUpperCase() })}
          />
          <TimeZoneField value={values.timeZone} onChange={(timeZone) => set({ timeZone })} />
        </div>
        <Note>{create.about}</Note>
      </Form>
    </Dialog>
  );
}

type EditProps = {
  readonly advertiser: Advertiser;
  readonly etag: string | null;
  readonly onDone: () => void;
  readonly onClose: () => void;
};

/** Renames an advertiser, or sets its thresholds. */
export function EditAdvertiser({ advertiser, etag, onDone, onClose }: EditProps) {
  const path = `/v1/advertisers/${advertiser.id}`;
  const snapshot = useSnapshot(path, { data: advertiser, etag });
  const before = { name: snapshot.data.name, thresholds: snapshot.data.lowBudgetPercents.join(', ') };
  const [values, set] = useDraft(before);
  const bodyOf = ({ name, thresholds }: typeof before) => ({
    name,
    lowBudgetPercents: numbersOf(thresholds),
  });
  const submit = async () => {
    const { data } = await patch<Advertiser>(path, changesOf(bodyOf(before), bodyOf(values)), snapshot.etag);
    notify(words.edit.done(data.name));
    onClose();
    onDone();
  };
  return (
    <Dialog title={words.edit.title(advertiser.name)} onClose={onClose}>
      <Form onSubmit={submit} readAgain={snapshot.readAgain} submit={texts.controls.save} onCancel={onClose}>
        <TextField
          {...{ label: words.create.name, name: 'name', value: values.name }}
          onChange={(name) => set({ name })}
          autoFocus
        />
        <TextField
          {...{ label: words.edit.thresholds, name: 'lowBudgetPercents', hint: words.edit.thresholdsHint }}
          value={values.thresholds}
          onChange={(thresholds) => set({ thresholds })}
          unit="%"
        />
      </Form>
    </Dialog>
  );
}

/** The whole numbers of a text such as `20, 5`. What is none goes to the API as it is, which says what it expected. */
function numbersOf(text: string): readonly (number | string)[] {
  const parts = text.split(/[\s,;%]+/).filter(Boolean);
  return parts.map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}
