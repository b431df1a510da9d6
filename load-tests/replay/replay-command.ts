import { Command, InvalidArgumentError, Option } from 'commander';
import { printJson } from '../../cli/print.ts';
import { proxies } from '../../common/config/setting.ts';
import { unixMs } from '../../common/unix-time.ts';
import { withWholeFile } from '../../common/whole-file.ts';
import { EXIT_CODES, interruptions, invalidOr, parseUrl, time } from '../arguments.ts';
import { createProgress } from '../progress-display.ts';
import { COLUMNS, type ColumnMap, parseColumns } from './csv-columns.ts';
import { FORMATS, type Format } from './formats.ts';
import { createLocalTime, type LocalTime } from './local-time.ts';
import type { Speed } from './pacing.ts';
import { printReplay } from './print-replay.ts';
import type { ReplayMethod } from './replay-options.ts';
import { replayReportOf } from './replay-report.ts';
import { runReplay } from './run-replay.ts';

type Arguments = {
  speed: Speed;
  via: ReplayMethod;
  format: Format | 'auto';
  columns?: ColumnMap;
  timeZone?: LocalTime;
  baseTime?: number;
  trustedProxies?: ReturnType<typeof proxies>;
  target?: string;
  wait: number;
  json?: true;
};

/** `npm run load -- replay FILE`. */
export function replayCommand(): Command {
  return new Command('replay')
    .exitOverride()
    .showHelpAfterError('(add --help for the form and examples)')
    .description('Replay recorded traffic. Looks up every click in the ledger and reconciles the books.')
    .argument('<file>', 'the recording, plain or gzip; - for standard input')
    .addOption(
      new Option('--speed <speed>', 'speed relative to the recording, such as 10x or 0.5x, or max')
        .default(1, '1x')
        .argParser(parseSpeed),
    )
    .addOption(
      new Option('--via <method>', 'click events to the broker, or requests to the ad server')
        .choices(['broker', 'http'])
        .default('broker'),
    )
    .addOption(
      new Option('--format <format>', 'format of the recording')
        .choices(['auto', ...FORMATS])
        .default('auto'),
    )
    .option('--columns <map>', 'column mapping of the CSV: adId=ad,clickedAt=time,…', (text) =>
      invalidOr(() => parseColumns(text)),
    )
    .option(
      '--time-zone <zone>',
      'time zone of CSV times without one, such as Asia/Shanghai or +08:00',
      (text) => invalidOr(() => createLocalTime(text)),
    )
    .option(
      '--base-time <time>',
      'shift all times of the CSV so that the first row has this time',
      parseBaseTime,
    )
    .option(
      '--trusted-proxies <networks>',
      'proxies whose X-Forwarded-For is trusted (default: TRUSTED_PROXIES)',
      (text) => invalidOr(() => proxies(text)),
    )
    .option(
      '--target <url>',
      'the ad server to send requests to (default: that of the running stack)',
      parseUrl,
    )
    .addOption(
      time('--wait <time>', 'report clicks as missing after this time without a settled click', 60_000),
    )
    .option('--json', 'print JSON for scripts')
    .addHelpText('after', HELP)
    .action(run);
}

async function run(file: string, given: Arguments): Promise<void> {
  const progress = createProgress(process.stderr);
  const options = {
    speed: given.speed,
    via: given.via,
    format: given.format,
    columns: given.columns ?? null,
    times: { localTime: given.timeZone ?? null, baseMs: given.baseTime ?? null },
    trustedProxies: given.trustedProxies ?? null,
    target: given.target ?? null,
    waitMs: given.wait,
  };
  const context = { ...interruptions(), progress };
  const result = await withWholeFile(file, process.stdin, (path, name) =>
    runReplay({ path, name }, options, context),
  );
  const report = replayReportOf(result);
  if (given.json) printJson(report);
  else printReplay(report);
  process.exitCode = EXIT_CODES[report.verdict];
}

function parseSpeed(text: string): Speed {
  if (text === 'max') return 'max';
  const times = /^\d{1,5}(\.\d{1,3})?x?$/.test(text) ? Number(text.replace('x', '')) : Number.NaN;
  if (times > 0) return times;
  throw new InvalidArgumentError(`Expected a speed such as 1x, 10x or max, got "${text}"`);
}

function parseBaseTime(text: string): number {
  const ms = unixMs(text);
  if (ms !== null) return ms;
  throw new InvalidArgumentError(`Expected a time with its zone such as 2026-01-31T12:00:00Z, got "${text}"`);
}

const HELP = `
Formats (detected from the first lines):
  events     JSON click events, one per line
  export     output of npx tollway export
  combined   access log of nginx or Apache, combined or common, with or without a leading virtual host
  nginx-json, caddy    JSON access logs of nginx and Caddy
  cloudfront, alb      access logs of CloudFront and of AWS' Application Load Balancer
  csv        with a header; --columns maps its names to fields: ${COLUMNS.join(', ')}
             (adId==7 sets 7 for all rows; rows whose isClick is 0 are skipped; link replaces adId)

In a log, each GET of a /c/… link with status 302 is a click. If the log has X-Forwarded-For, list the addresses of your proxies with
--trusted-proxies.

Methods:
  --via broker  publishes click events to the broker of the stack. Safe to run twice: a line without a click id gets one derived
                from its time, the content of the file and its line number. A missing campaign, advertiser or price is taken from
                the ad, with its current value.
  --via http    requests links from the ad server, which makes new clicks that are charged. A log is replayed with its logged links,
                other formats with new links to the ads. The visitor's address is sent in X-Forwarded-For; the ad server uses it only
                if TRUSTED_PROXIES contains the address of this machine.

Examples:
  npx tollway export --since 24h | gzip > day.ndjson.gz && npm run load -- replay day.ndjson.gz --speed 10x --via http
  npx tollway export --since 24h | npm run -s load -- replay - --speed max
  npm run load -- replay access.log.1.gz --speed max
  npm run load -- replay clicks.csv --columns adId=ad,clickedAt=time,userAgent=ua
  npm run load -- replay talkingdata.csv --columns adId==1,clickedAt=click_time --time-zone Asia/Shanghai --base-time 2026-01-31T12:00:00Z
  npm run load -- replay criteo.tsv --columns adId=campaign,clickedAt=timestamp,isClick=click --base-time 2026-01-31T12:00:00Z
  npm run load -- replay avazu.csv --columns adId==1,clickedAt=hour,isClick=click --time-zone UTC

Broken lines are counted, shown and skipped.

Exit codes:
  0  passed
  1  a click is missing, the books do not balance, or redirects failed
  2  not measured: no click could be replayed, or clicks were sent late
`;
