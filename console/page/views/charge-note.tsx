import type { Charge } from '../charge-state.ts';
import { goesOnAt, nextDayOf } from '../daily-cap.ts';
import type { Campaign } from '../entities.ts';
import { formatAmount, formatTime } from '../format.ts';
import { texts } from '../texts.ts';
import { clock } from '../ui/clock.ts';
import { Note } from '../ui/state.tsx';

/** The next day ends these. */
const OF_THE_DAY: readonly Charge['state'][] = ['daily_cap', 'price_above_day_left'];
const WAITING: readonly Charge['state'][] = ['no_ad', 'not_started', 'ended', 'pace', ...OF_THE_DAY];

type Props = {
  readonly charge: Charge;
  readonly currency: string;
  /** The campaign whose clicks they are, if it is one. */
  readonly campaign?: Pick<Campaign, 'endsAt' | 'timeZone'>;
};

/** Says whether clicks are charged. */
export function ChargeNote({ charge, currency, campaign }: Props) {
  const { state } = charge;
  if (state === 'charging') return <Note tone="good">{texts.charge.charging}</Note>;
  return (
    <Note tone={WAITING.includes(state) ? 'info' : 'warn'}>
      {'price' in charge
        ? texts.priceAbove[charge.state](amountOf(charge.price), amountOf(charge.limit))
        : texts.charge[charge.state]}
      {campaign && OF_THE_DAY.includes(state) && ` ${nextDayTextOf(campaign)}`}
    </Note>
  );

  function amountOf(amount: string): string {
    return `${formatAmount(amount, currency)} ${currency}`;
  }
}

function nextDayTextOf(campaign: NonNullable<Props['campaign']>): string {
  const { timeZone } = campaign;
  const at = goesOnAt(campaign, nextDayOf(timeZone, clock.value));
  return at === null ? texts.nextDay.ends : texts.nextDay.goesOn(formatTime(at, timeZone), timeZone);
}
