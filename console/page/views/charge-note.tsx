import type { Charge } from '../charge-state.ts';
import { formatAmount } from '../format.ts';
import { texts } from '../texts.ts';
import { Note } from '../ui/state.tsx';

const WAITING: readonly Charge['state'][] = ['no_ad', 'not_started', 'ended', 'pace'];

/** Says whether clicks are charged. */
export function ChargeNote({ charge, currency }: { readonly charge: Charge; readonly currency: string }) {
  const { state } = charge;
  if (state === 'charging') return <Note tone="good">{texts.charge.charging}</Note>;
  return (
    <Note tone={WAITING.includes(state) ? 'info' : 'warn'}>
      {'price' in charge
        ? texts.priceAbove[charge.state](amountOf(charge.price), amountOf(charge.limit))
        : texts.charge[charge.state]}
    </Note>
  );

  function amountOf(amount: string): string {
    return `${formatAmount(amount, currency)} ${currency}`;
  }
}
