import type { CliContext } from '../../cli/context.ts';
import { counted } from '../../common/counted.ts';
import type { ProgressDisplay } from '../progress-display.ts';
import type { Recording } from './recording.ts';
import type { ReplayOptions } from './replay-options.ts';

/** Prints what the replay will do. */
export function printPlan(
  file: string,
  { format, clicks, firstAt, latestAt, old, hasLinks, isUnordered, ignoredProxies }: Recording,
  { via, speed, target }: ReplayOptions,
  { config, stack }: CliContext,
  progress: ProgressDisplay,
): void {
  const spanMs = latestAt - firstAt;
  const pace = speed === 'max' ? 'as fast as possible' : `at ${speed}x, in about ${timeText(spanMs / speed)}`;
  progress.say(`${file}: ${counted(clicks, 'click')} (${format}) of ${timeText(spanMs)}; replayed ${pace}`);
  if (isUnordered) progress.say('The clicks are not in the order of their times; they are sorted first.');
  if (ignoredProxies.count > 0) {
    progress.say(
      `${counted(ignoredProxies.count, 'request')} came through a proxy that is not trusted, the first through ${ignoredProxies.first}. The address of ` +
        `the proxy counts as the visitor's. To trust your proxy: --trusted-proxies ${ignoredProxies.first}`,
    );
  }
  if (via === 'http') {
    progress.say(`Requests go to ${target ?? stack.adServerUrl}. They make new clicks: they are charged.`);
    return;
  }
  progress.say(
    `Click events go to the broker (${config.BROKER}). Clicks that are already in the ledger are not charged again.`,
  );
  if (hasLinks) {
    progress.say(
      'A log has no click ids, so clicks that Tollway recorded at the time are not recognized. Impression links are charged only once; clicks on ' +
        'evergreen links are charged again.',
    );
  }
  if (old > 0) {
    progress.say(
      `${counted(old, 'click is', 'clicks are')} older than ${counted(config.CLICK_AGE_MAX_DAYS, 'day')} (CLICK_AGE_MAX_DAYS) and will be rejected if not in the ledger yet (too_old, or id_out_of_range if the ledger has no partition for the day).`,
    );
  }
}

function timeText(ms: number): string {
  const seconds = ms / 1_000;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return seconds < 7_200 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}
