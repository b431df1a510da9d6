import { createVisitorAddress } from '../../ad-server/http/visitor.ts';
import { rulesOf } from '../../ad-server/redirect/agent-rules.ts';
import { createAgentJudge } from '../../ad-server/redirect/invalid-traffic.ts';
import { createBacklogs } from '../../brokers/create-event-sources.ts';
import { createPublisher } from '../../brokers/create-publisher.ts';
import { type CliContext, findContext } from '../../cli/context.ts';
import { assertBroker } from '../../cli/start/assert-broker.ts';
import { findLinkKeys } from '../../common/config/link-key-file.ts';
import type { LinkKey } from '../../common/config/link-keys.ts';
import { TollwayError } from '../../common/errors.ts';
import { createPool, type Pool } from '../../common/postgres/postgres.ts';
import { createLogger } from '../../common/telemetry/logger.ts';
import { DAY_MS } from '../../common/unix-time.ts';
import { createSigner } from '../../contract/link-token.ts';
import { reconcile } from '../../ledger/reconciliation/reconcile.ts';
import { createHttpTarget } from '../load/http-target.ts';
import { readClock } from '../load/ledger-check.ts';
import { percentileMs } from '../load/micros-histogram.ts';
import type { ProgressDisplay } from '../progress-display.ts';
import { createBrokerTarget } from './broker-target.ts';
import { ClickIdFile } from './click-id-file.ts';
import { createCompleter } from './complete-clicks.ts';
import { assertTakesLinks, CONNECTIONS_MAX, createHttpReplayTarget, type HttpCounts } from './http-target.ts';
import { clicksAmong, createLineCounts, type LineCounts } from './line-counts.ts';
import { createPacing, type Pacing, play, type Sink, type Speed } from './pacing.ts';
import { printPlan } from './print-plan.ts';
import { openRecording, type Recording } from './recording.ts';
import type { ReplayOptions } from './replay-options.ts';
import type { ReplayResult } from './replay-report.ts';
import { checkSettled } from './settled-check.ts';

const SHOW_MS = 1_000;
/** Connections to the database, for concurrent batches and lookups of ads. */
const CONNECTIONS = 6;

/** The file to read, and its name in messages, such as `standard input`. */
export type ReplayedFile = { readonly path: string; readonly name: string };

export type ReplayContext = {
  /** Ends the replay. Clicks that were replayed are still looked up in the ledger. */
  readonly stopLoad: AbortSignal;
  /** Ends the wait for missing clicks too. */
  readonly giveUp: AbortSignal;
  readonly progress: ProgressDisplay;
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
 * Replays a file on a running stack and looks up every click in the ledger. Throws `bad_file`, `unknown_format`, `bad_columns`, `bad_options`,
 * `disk_full`, `nothing_replayed`, `target_unreachable`, `keys_differ`, `broker_away`, and the errors of `pg`.
 */
export async function runReplay(
  { path, name: file }: ReplayedFile,
  options: ReplayOptions,
  { stopLoad, giveUp, progress }: ReplayContext,
): Promise<ReplayResult> {
  assertCompatibleOptions(options);
  const cli = findContext();
  progress.show(`Reading ${file}`);
  const recording = await openRecording(path, {
    ...options,
    name: file,
    oldAt: Date.now() - cli.config.CLICK_AGE_MAX_DAYS * DAY_MS,
    stop: stopLoad,
    log: { visitorAddress: createVisitorAddress(options.trustedProxies ?? cli.config.TRUSTED_PROXIES) },
  });
  const run: ReplayRun = {
    ...cli,
    pool: createPool(cli.stack.databaseUrl, 'replay', CONNECTIONS, () => {}),
    keys: findLinkKeys(cli.config) ?? [],
    recording,
    options,
    ids: new ClickIdFile(),
    pacing: createPacing(),
    lineCounts: createLineCounts(),
    stop: stopLoad,
  };
  try {
    printPlan(file, recording, options, cli, progress);
    return await replayAndCheck(file, run, giveUp, progress);
  } finally {
    progress.end();
    run.ids.close();
    await run.pool.end();
  }
}

async function replayAndCheck(
  file: string,
  run: ReplayRun,
  giveUp: AbortSignal,
  progress: ProgressDisplay,
): Promise<ReplayResult> {
  const { pool, recording, options, ids, pacing, lineCounts, stop } = run;
  const startedAt = await readClock(pool);
  const beganAt = performance.now();
  const sent = await sendWithProgress(run, progress);
  const elapsedMs = performance.now() - beganAt;
  if (sent.replayed === 0 && !stop.aborted && sent.http === null) throw nothingReplayed(file, lineCounts);
  const ledger = await checkSettled(pool, ids, {
    startedAt,
    waitMs: options.waitMs,
    stop: giveUp,
    onProgress: (found) => progress.show(`Looking up clicks in the ledger: ${found} of ${ids.size}`),
  });
  progress.show('Reconciling');
  const brokers = await createBacklogs(run.config, createLogger('backlog', SILENT));
  const reconciliation = await reconcile(pool, { brokers });
  return {
    file,
    format: recording.format,
    via: options.via,
    speed: options.speed,
    interrupted: stop.aborted,
    lineCounts,
    pacing,
    elapsedMs,
    ledger,
    reconciliation,
    ...sent,
  };
}

async function sendWithProgress(run: ReplayRun, progress: ProgressDisplay): Promise<SentClicks> {
  const { recording, options, pacing } = run;
  const show = () =>
    progress.show(`Replaying: ${pacing.begun} of ${recording.clicks}${latenessText(pacing, options.speed)}`);
  const timer = setInterval(show, SHOW_MS);
  try {
    return await (options.via === 'broker' ? sendToBroker(run) : sendOverHttp(run));
  } finally {
    clearInterval(timer);
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

async function sendToBroker(run: ReplayRun): Promise<SentClicks> {
  const { config, pool, keys, recording, ids, lineCounts, stop } = run;
  if (recording.hasLinks && keys.length === 0) throw noKeys('they verify the links of the log');
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
    const target = createBrokerTarget({ publisher, complete, ids, lineCounts, stop });
    await playRecording(target, run);
    await target.finish();
    return { replayed: target.published(), http: null };
  } finally {
    await publisher.close();
  }
}

async function sendOverHttp(run: ReplayRun): Promise<SentClicks> {
  const { stack, keys, recording, options, ids } = run;
  const { hasLinks } = recording;
  if (!hasLinks && keys.length === 0) throw noKeys('they sign the new links');
  const sign = hasLinks ? null : createSigner(keys);
  const url = options.target ?? stack.adServerUrl;
  const target = await createHttpTarget(url, CONNECTIONS_MAX);
  try {
    await assertTakesLinks(target, url, recording.samples, sign);
    const sink = createHttpReplayTarget(target, { sign, speed: options.speed, ids });
    await playRecording(sink, run);
    await sink.finish();
    return { replayed: sink.counts.recorded + sink.counts.unrecorded, http: sink.counts };
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

function latenessText({ latenessMicros }: Pacing, speed: Speed): string {
  if (speed === 'max' || latenessMicros.totalCount === 0) return '';
  return `, late by p99 ${percentileMs(latenessMicros, 99).toFixed(1)} ms`;
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
