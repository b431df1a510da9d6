import { restOf } from '../../amounts.ts';
import { isAbove, isAmount } from '../../charge-state.ts';
import type { Ad, Campaign } from '../../entities.ts';
import { formatAmount } from '../../format.ts';
import { texts } from '../../texts.ts';
import { CheckField, SelectField, TextField } from '../../ui/form.tsx';
import type { CampaignValues } from './campaign-values.ts';

const words = texts.campaigns.fields;
const { pacings } = texts.campaigns;
const PACINGS: readonly Campaign['pacing'][] = ['none', 'even', 'rest'];

type Props = {
  readonly values: CampaignValues;
  readonly set: (changes: Partial<CampaignValues>) => void;
};

type AllProps = Props & {
  readonly currency: string;
  readonly zone: string;
  /** The ads of the campaign. */
  readonly ads?: readonly Ad[];
  /** What its clicks have cost, if it has a cap of all clicks. */
  readonly spent?: string | null;
};

/** The fields of a campaign. */
export function CampaignFields({ values, set, currency, zone, ads = [], spent = null }: AllProps) {
  const warningOf = (cap: string) => warningOfCap(cap, ads);
  return (
    <>
      <TextField
        {...{ label: words.name, name: 'name', value: values.name }}
        onChange={(name) => set({ name })}
        autoFocus
      />
      <div class="pair">
        <TextField
          {...{ label: words.cap, name: 'cap', hint: words.capHint, value: values.cap, unit: currency }}
          onChange={(cap) => set({ cap })}
          warning={warningOf(values.cap) ?? warningOfRest(values.cap, spent, ads)}
          inputMode="decimal"
          isOptional
        />
        <TextField
          {...{ label: words.dailyCap, name: 'dailyCap', hint: words.dailyCapHint, unit: currency }}
          value={values.dailyCap}
          onChange={(dailyCap) => set({ dailyCap })}
          warning={warningOf(values.dailyCap)}
          inputMode="decimal"
          isOptional
        />
      </div>
      <DateFields {...{ values, set, zone }} />
      <PaceFields {...{ values, set }} />
      <TextField
        {...{ label: words.externalId, name: 'externalId', hint: words.externalIdHint }}
        value={values.externalId}
        onChange={(externalId) => set({ externalId })}
        isOptional
      />
    </>
  );
}

/** What a cap does that is less than what a click costs. */
function warningOfCap(cap: string, ads: readonly Ad[]): string | undefined {
  const dear = ads.filter(({ status, price }) => status === 'active' && isAbove(price, cap));
  const nameOf = ({ id, name, price, currency }: Ad) =>
    `${texts.ads.name(id, name)} (${formatAmount(price, currency)} ${currency})`;
  return dear.length === 0 ? undefined : words.belowPrice(dear.map(nameOf).join(', '));
}

/** What a cap does whose rest is less than what a click of any active ad costs. */
function warningOfRest(cap: string, spent: string | null, ads: readonly Ad[]): string | undefined {
  const active = ads.filter(({ status }) => status === 'active');
  const [first] = active;
  if (first === undefined || spent === null || !isAmount(cap)) return undefined;
  const rest = restOf(cap.trim(), spent);
  if (!active.every(({ price }) => isAbove(price, rest))) return undefined;
  return words.restBelowPrice(`${formatAmount(rest, first.currency)} ${first.currency}`);
}

function DateFields({ values, set, zone }: Props & { readonly zone: string }) {
  return (
    <fieldset>
      <div class="pair">
        <div class="day-and-clock">
          <TextField
            {...{ label: words.firstDay, name: 'startsAt', type: 'date', value: values.firstDay }}
            onChange={(firstDay) => set({ firstDay })}
            isOptional
          />
          <TextField
            {...{ label: words.firstClock, type: 'time', value: values.firstClock }}
            onChange={(firstClock) => set({ firstClock })}
          />
        </div>
        <div class="day-and-clock">
          <TextField
            {...{ label: words.lastDay, name: 'endsAt', type: 'date', value: values.lastDay }}
            onChange={(lastDay) => set({ lastDay })}
            isOptional
          />
          <TextField
            {...{ label: words.lastClock, type: 'time', value: values.lastClock }}
            onChange={(lastClock) => set({ lastClock })}
          />
        </div>
      </div>
      <p class="hint">{words.dates(zone)}</p>
    </fieldset>
  );
}

function PaceFields({ values, set }: Props) {
  return (
    <>
      <div class="pair">
        <SelectField
          {...{ label: words.pacing, name: 'pacing', hint: words.pacingHint, value: values.pacing }}
          options={PACINGS.map((value) => ({ value, label: pacings[value] }))}
          onChange={(pacing) => set({ pacing })}
        />
        <TextField
          {...{ label: words.fallbackUrl, name: 'fallbackUrl', hint: words.fallbackUrlHint, type: 'url' }}
          value={values.fallbackUrl}
          onChange={(fallbackUrl) => set({ fallbackUrl })}
          placeholder="https://"
          isOptional
        />
      </div>
      {values.pacing !== 'none' && (
        <CheckField label={words.hold} isChecked={values.hold} onChange={(hold) => set({ hold })} />
      )}
    </>
  );
}
