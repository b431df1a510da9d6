import { formatDuration } from '../format.ts';
import { ageMs, type Connection, connection, refusal } from '../live.ts';
import { texts } from '../texts.ts';

const TONES: Readonly<Record<Connection, string>> = {
  connecting: '',
  live: 'good',
  late: 'warn',
  refused: 'bad',
  disconnected: 'bad',
};

/** Whether the live numbers are those of this second, and how old they are otherwise. */
export function ConnectionState() {
  const state = connection.value;
  const age = formatDuration(Math.floor((ageMs.value ?? 0) / 1_000));
  const { connecting, live, late, refused, disconnected, explain } = texts.connection;
  const label = { connecting, live, late: late(age), refused, disconnected: disconnected(age) }[state];
  const explanation = state === 'refused' ? refusal.value?.message : explain[state];
  return (
    <span class={`tag ${TONES[state]}`} role="status" data-connection={state} title={explanation ?? ''}>
      <span class="dot" />
      {label}
    </span>
  );
}
