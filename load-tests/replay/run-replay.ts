import { createVisitorAddress } from '../../ad-server/http/visitor.ts';
import { rulesOf } from '../../ad-server/redirect/agent-rules.ts';
import { createAgentJudge } from '../../ad-server/redirect/invalid-traffic.ts';
import { createBacklogs } from '../../brokers/create-event-sources.ts';
import { createPublisher } from '../../brokers/create-publisher.ts';
import { type CliContext, findPlace } from '../../cli/context.ts';
import { findLinkKeys } from '../../cli/link-key-file.ts';
import { assertBroker } from '../../cli/start/assert-broker.ts';
import type { Config } from '../../common/config/config.ts';
import type { LinkKey } from '../../common/config/link-keys.ts';
import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { createSigner } from '../../contract/link-token.ts';
import { reconcile } from '../../ledger/reconcile.ts';
import { createHttpTarget } from '../load/http-target.ts';
import { readClock } from '../load/ledger-check.ts';
import { percentileMs } from '../load/micros-histogram.ts';
import type { Progress } from '../progress.ts';
import { createBrokerTarget } from './broker-target.ts';
import { ClickIdFile } from './click-id-file.ts';
import { createCompleter } from './complete-clicks.ts';
import type { ColumnMap, TimeOptions } from './csv-columns.ts';
import type { Format } from './formats.ts';
import { assertTakesLinks, CONNECTIONS_MAX, createHttpReplayTarget, type HttpCounts } from './http-target.ts';
import { clicksAmong, createLineCounts, type LineCounts } from './line-counts.ts';
import { createPacing, type Pacing, play, type Sink, type Speed } from './pacing.ts';
import { openRecording, type Recording } from './recording.ts';
import type { ReplayMethod, ReplayResult } from './replay-report.ts';
import { checkSettled } from './settled-check.ts';

const DAY_MS = 86_400_000;
const SHOW_MS = 1_000;
/** Connections to the database: for batches under way, and to look ads up. */
const CONNECTIONS = 6;

export type ReplayOptions = {
  readonly speed: Speed;
  readonly via: ReplayMethod;
  readonly format: Format | 'auto';
  readonly columns: ColumnMap | null;
  readonly times: TimeOptions;
  /** Proxies whose `X-Forwarded-For` is believed where a log has it; `null` are those of TRUSTED_PROXIES. */
  readonly trustedProxies: Config['TRUSTED_PROXIES'] | null;
  /** Where requests go; `null` is the stack's own address. */
  readonly target: string | null;
  readonly waitMs: number;
};

/** The file to read, and its name in messages, such as `standard input`. */
export type ReplayedFile = { readonly path: string; readonly name: string };

export type ReplayContext = {
  /** Ends the replay; what was replayed until then is looked up all the same. */
  readonly stopLoad: AbortSignal;
  /** Ends the waiting for the ledger too. */
  readonly giveUp: AbortSignal;
  readonly progress: Progress;
};

type ReplayRun = CliContext & {
  readonly pool: Pool;
  readonly keys: readonly LinkKey[];
  readonly recording: Recording;
  readonly options: ReplayOptions;
  readonly ids: ClickIdFile;
  readonly pacing: Pacing;
  readonly lineCounts: LineCounts;
  readonly stop: AbortSignal;
};
type SentClicks = { readonly replayed: number; readonly http: HttpCounts | null };

/**
 * Replays a file on a running stack and follows every click of it into the ledger. Throws `bad_file`, `unknown_format`,
 * `bad_columns`, `bad_options`, `disk_full`, `nothing_replayed`, `target_unreachable`, `keys_differ`, `broker_away`, and what `pg` throws.
 */
export async function runReplay(
  { path, name: file }: ReplayedFile,
  options: ReplayOptions,
  { stopLoad, giveUp, progress }: ReplayContext,
): Promise<ReplayResult> {
  assertCompatibleOptions(options);
  const place = findPlace();
  const oldAt = Date.now() - place.config.CLICK_AGE_MAX_DAYS * DAY_MS;
  progress.show(`Reading ${file}`);
  const visitorAddress = createVisitorAddress(options.trustedProxies ?? place.config.TRUSTED_PROXIES);
  const recording = await openRecording(path, {
    ...options,
    name: file,
    oldAt,
    stop: stopLoad,
    log: { visitorAddress },
  });
  const pool = createPool(place.stack.databaseUrl, 'replay', CONNECTIONS, () => {});
  const ids = new ClickIdFile();
  const [pacing, lineCounts] = [createPacing(), createLineCounts()];
  const keys = findLinkKeys(place.config) ?? [];
  try {
    printPlan(file, recording, options, place, progress);
    const startedAt = await readClock(pool);
    const beganAt = performance.now();
    const showing = setInterval(
      () =>
        progress.show(`Replaying: ${pacing.begun} of ${recording.clicks}${lateText(pacing, options.speed)}`),
      SHOW_MS,
    );
    const work: ReplayRun = {
      ...place,
      pool,
      keys,
      recording,
      options,
      ids,
      pacing,
      lineCounts,
      stop: stopLoad,
    };
    let sent: SentClicks;
    try {
      sent = await (options.via === 'broker' ? sendToBroker(work) : sendOverHttp(work));
    } finally {
      clearInterval(showing);
    }
    const elapsedMs = performance.now() - beganAt;
    if (sent.replayed === 0 && !stopLoad.aborted && sent.http === null)
      throw nothingReplayed(file, lineCounts);
    const ledger = await checkSettled(pool, ids, {
      startedAt,
      waitMs: options.waitMs,
      stop: giveUp,
      onProgress: (found) => progress.show(`Looking up clicks in the ledger: ${found} of ${ids.size}`),
    });
    progress.show('Asking the books');
    const brokers = await createBacklogs(place.config, createLogger('backlog', SILENT));
    const reconciliation = await reconcile(pool, { brokers });
    const { format } = recording;
    const { via, speed } = options;
    const interrupted = stopLoad.aborted;
    return {
      file,
      format,
      via,
      speed,
      interrupted,
      lineCounts,
      pacing,
      elapsedMs,
      ledger,
      reconciliation,
      ...sent,
    };
  } finally {
    progress.end();
    ids.close();
    await pool.end();
  }
}

const SILENT = { LOG_LEVEL: 'silent', LOG_FORMAT: 'json' } as const;

function assertCompatibleOptions({ via, format, columns, target }: ReplayOptions): void {
  const wrong =
    columns !== null && format !== 'auto' && format !== 'csv'
      ? `--columns needs CSV; got --format ${format}`
      : target !== null && via === 'broker'
        ? '--target needs --via http: the broker is that of the running stack'
        : null;
  if (wrong !== null) throw new TollwayError('bad_options', wrong);
}

async function sendToBroker(work: ReplayRun): Promise<SentClicks> {
  const { config, pool, keys, recording, ids, lineCounts, stop } = work;
  if (recording.hasLinks && keys.length === 0) throw noKeys('the links of a log are verified with them');
  const logger = createLogger('replay', SILENT);
  await assertBroker(config, logger);
  const publisher = await createPublisher(config, pool, logger);
  try {
    const complete = createCompleter(pool, recording.hash, {
      keys,
      linkLifeMaxDays: config.LINK_LIFE_MAX_DAYS,
      doubleClickMs: config.DOUBLE_CLICK_MS,
      judgeAgent: createAgentJudge(config.NO_USER_AGENT, rulesOf(config)).judge,
    });
    const way = createBrokerTarget({ publisher, complete, ids, lineCounts, stop });
    await playRecording(way, work);
    await way.finish();
    return { replayed: way.published(), http: null };
  } finally {
    await publisher.close();
  }
}

async function sendOverHttp(work: ReplayRun): Promise<SentClicks> {
  const { stack, keys, recording, options, ids } = work;
  const { hasLinks } = recording;
  if (!hasLinks && keys.length === 0) throw noKeys('fresh links are signed with them');
  const sign = hasLinks ? null : createSigner(keys);
  const url = options.target ?? stack.adServerUrl;
  const target = await createHttpTarget(url, CONNECTIONS_MAX);
  try {
    await assertTakesLinks(target, url, recording.samples, sign);
    const way = createHttpReplayTarget(target, { sign, speed: options.speed, ids });
    await playRecording(way, work);
    await way.finish();
    return { replayed: way.counts.recorded + way.counts.unrecorded, http: way.counts };
  } finally {
    await target.close();
  }
}

function playRecording(
  sink: Sink,
  { recording, lineCounts, pacing, options, stop }: ReplayRun,
): Promise<void> {
  const { speed } = options;
  return play(clicksAmong(recording.read(), lineCounts), pacing, {
    speed,
    firstAt: recording.firstAt,
    sink,
    stop,
  });
}

/** Says what is going to happen, before it happens. */
function printPlan(
  file: string,
  { format, clicks, firstAt, latestAt, old, hasLinks, isUnordered, ignoredProxies }: Recording,
  { via, speed, target }: ReplayOptions,
  { config, stack }: CliContext,
  progress: Progress,
): void {
  const spanMs = latestAt - firstAt;
  const takes = speed === 'max' ? 'as fast as it goes' : `${speed}x, about ${timeText(spanMs / speed)}`;
  progress.say(`${file}: ${counted(clicks, 'click')} (${format}) of ${timeText(spanMs)}; ${takes}`);
  if (isUnordered) progress.say('Its clicks are not in the order of their times; they are sorted first.');
  if (ignoredProxies.count > 0) {
    progress.say(
      `${counted(ignoredProxies.count, 'request')} came through a proxy, the first through ${ignoredProxies.first}, that is not trusted: its address counts as ` +
        `the visitor's. If it is yours: --trusted-proxies ${ignoredProxies.first}`,
    );
  }
  if (via === 'http') {
    progress.say(`New clicks on ${target ?? stack.adServerUrl}: they are charged.`);
    return;
  }
  progress.say(
    `To the broker (${config.BROKER}). Clicks of this file that are already in the ledger are not charged again.`,
  );
  if (hasLinks) {
    progress.say(
      'A log has no click ids, so a replayed click is a new click. Impression links are charged once; evergreen links are ' +
        'charged again.',
    );
  }
  if (old > 0) {
    progress.say(
      `${counted(old, 'of them is', 'of them are')} older than ${counted(config.CLICK_AGE_MAX_DAYS, 'day')} (CLICK_AGE_MAX_DAYS): what is not in the ledger yet will be rejected (too_old, or id_out_of_range where it has no such day).`,
    );
  }
}

function lateText({ latenessMicros }: Pacing, speed: Speed): string {
  if (speed === 'max' || latenessMicros.totalCount === 0) return '';
  return `, late by p99 ${percentileMs(latenessMicros, 99).toFixed(1)} ms`;
}

function timeText(ms: number): string {
  const seconds = ms / 1_000;
  if (seconds < 120) return `${seconds.toFixed(1)} s`;
  return seconds < 7_200 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3_600).toFixed(1)} h`;
}

function noKeys(why: string): TollwayError {
  return new TollwayError('no_link_keys', `LINK_KEYS: expected the keys of the ad server, got none; ${why}`);
}

function nothingReplayed(file: string, { broken, shown, skipped }: LineCounts): TollwayError {
  const reasons = [
    ...[...skipped].map(([why, count]) => `  ${why}: ${count}`),
    ...(broken > 0 ? [`  broken: ${broken}`] : []),
    ...shown.map(({ line, why }) => `  line ${line}: ${why}`),
  ];
  const message = `${file}: expected clicks that can be replayed, got none\n${reasons.join('\n')}`;
  return new TollwayError('nothing_replayed', message);
}
