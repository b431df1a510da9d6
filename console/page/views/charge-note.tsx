import type { ChargeState } from '../charge-state.ts';
import { texts } from '../texts.ts';
import { Note } from '../ui/state.tsx';

const WAITING: readonly ChargeState[] = ['no_ad', 'not_started', 'ended', 'pace'];

/** Says whether clicks are charged. */
export function ChargeNote({ state }: { readonly state: ChargeState }) {
  if (state === 'charging') return <Note tone="good">{texts.charge.charging}</Note>;
  return <Note tone={WAITING.includes(state) ? 'info' : 'warn'}>{texts.charge[state]}</Note>;
}
