import { formatCount, formatDuration } from '../../format.ts';
import { flow } from '../../live.ts';
import { texts } from '../../texts.ts';
import { Panel } from '../../ui/page.tsx';
import { Stat } from '../../ui/values.tsx';

/** Age below which a click that waits is not worth a word, in s. */
const MOMENT_SECONDS = 1;

/** How far the clicks have come, and what waits on the way. */
export function FlowPanel() {
  const words = texts.live.flow;
  const now = flow.value;
  const count = (value: number | undefined) => (value === undefined ? '–' : formatCount(value));
  const waiting = (clicks: number, oldest: number | null) => {
    if (clicks <= 0) return words.nothingWaits;
    const age =
      oldest !== null && oldest >= MOMENT_SECONDS ? `, ${words.oldest(formatDuration(oldest))}` : '';
    return words.waiting(formatCount(clicks)) + age;
  };
  return (
    <Panel title={words.title}>
      <dl class="stack flow">
        <Stat
          label={words.accepted}
          value={count(now?.accepted)}
          sub={now && waiting(now.accepted - now.relayed, now.spoolOldestSeconds)}
        />
        <Stat
          label={words.relayed}
          value={count(now?.relayed)}
          sub={now && waiting(now.relayed - now.settled, now.brokerOldestSeconds)}
        />
        <Stat
          label={words.settled}
          value={count(now?.settled)}
          sub={now?.clickToChargeSeconds != null && words.toCharge(formatDuration(now.clickToChargeSeconds))}
        />
      </dl>
    </Panel>
  );
}
