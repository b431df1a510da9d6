import { useState } from 'preact/hooks';
import { type Attempts, fieldError, post } from '../../api.ts';
import type { Ad } from '../../entities.ts';
import { formatCount } from '../../format.ts';
import { can } from '../../session.ts';
import { texts } from '../../texts.ts';
import { Form, SelectField, TextField } from '../../ui/form.tsx';
import { Panel } from '../../ui/page.tsx';
import { Empty } from '../../ui/state.tsx';
import { notify } from '../../ui/toast.tsx';
import { useDraft } from '../../ui/use-draft.ts';
import type { MadeLinks } from './link-files.ts';
import { Made } from './made-links.tsx';

const words = texts.ads.links;

type Kind = 'impression' | 'evergreen';
type LinkValues = {
  readonly kind: Kind;
  readonly publisher: string;
  readonly count: string;
  readonly days: string;
};

const KINDS: readonly Kind[] = ['impression', 'evergreen'];

/** Makes links to an ad. */
export function LinksPanel({ ad }: { readonly ad: Ad }) {
  const [values, set] = useDraft<LinkValues>({ kind: 'impression', publisher: '', count: '1', days: '' });
  const [made, setMade] = useState<MadeLinks | null>(null);
  const isEvergreen = values.kind === 'evergreen';
  const submit = async (attempts: Attempts) => {
    const { links } = await post<{ links: readonly string[] }>('/v1/links', bodyOf(ad.id, values), attempts);
    setMade({ adId: ad.id, adName: ad.name, isEvergreen, publisher: values.publisher || null, links });
    notify(words.done(formatCount(links.length)));
  };
  if (!can('links.create'))
    return (
      <Panel title={words.title} span={8}>
        <Empty title={words.noRight} />
      </Panel>
    );
  return (
    <Panel title={words.title} span={8}>
      <div class="stack">
        <p class="soft">{words.lead}</p>
        <Form onSubmit={submit} submit={isEvergreen || values.count === '1' ? words.submitOne : words.submit}>
          <LinkFields {...{ values, set, isEvergreen }} />
        </Form>
        {made && <Made made={made} />}
      </div>
    </Panel>
  );
}

/** All evergreen links of an ad and a publisher are the same, so it is one. Throws an `ApiError` for days that are no number. */
function bodyOf(adId: number, { kind, publisher, count, ...values }: LinkValues) {
  const days = values.days.trim();
  if (kind === 'impression' && days !== '' && !/^[1-9]\d{0,5}$/.test(days))
    throw fieldError('expiresIn', words.daysExpected(days));
  const numberOf = (text: string) => (/^\d+$/.test(text.trim()) ? Number(text) : text.trim());
  return {
    ...{ adId, evergreen: kind === 'evergreen', publisher: publisher.trim() || null },
    ...(kind === 'impression' && { count: numberOf(count) }),
    ...(kind === 'impression' && days && { expiresIn: `${days}d` }),
  };
}

type FieldsProps = {
  readonly values: LinkValues;
  readonly set: (changes: Partial<LinkValues>) => void;
  readonly isEvergreen: boolean;
};

function LinkFields({ values, set, isEvergreen }: FieldsProps) {
  return (
    <>
      <div class="pair">
        <SelectField
          {...{ label: words.kind, name: 'evergreen', hint: words.kindHints[values.kind] }}
          value={values.kind}
          options={KINDS.map((value) => ({ value, label: words.kinds[value] }))}
          onChange={(kind) => set({ kind })}
        />
        <TextField
          {...{ label: words.publisher, name: 'publisher', hint: words.publisherHint }}
          value={values.publisher}
          onChange={(publisher) => set({ publisher })}
          isOptional
        />
      </div>
      {!isEvergreen && (
        <div class="pair">
          <TextField
            {...{ label: words.count, name: 'count', hint: words.countHint, value: values.count }}
            onChange={(count) => set({ count })}
            inputMode="numeric"
          />
          <TextField
            {...{ label: words.expires, name: 'expiresIn', hint: words.expiresHint, value: values.days }}
            onChange={(days) => set({ days })}
            unit={words.days}
            inputMode="numeric"
            isOptional
          />
        </div>
      )}
    </>
  );
}
