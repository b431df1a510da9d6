import { expect, it } from 'vitest';
import { readSources } from './support/source-folders.ts';

/**
 * Every place that reads the system clock, which can be set. Each needs a timestamp: a time that is written down, or that is
 * compared with one that was. Intervals, ages, throttles and deadlines inside a process use `performance.now()`.
 */
const TIMESTAMPS: Readonly<Record<string, { readonly reads: number; readonly why: string }>> = {
  'ad-server/catalog/ad-catalog.ts': {
    reads: 2,
    why: 'the time of change of the snapshot file, written and read',
  },
  'ad-server/catalog/clock-check.ts': { reads: 1, why: 'compared with the clock of the database server' },
  'ad-server/blocked-spools.ts': { reads: 1, why: 'the time of change of a segment file' },
  'console/api/routes/click-list.ts': { reads: 1, why: 'the end of a period, if none is given' },
  'console/api/routes/reports.ts': {
    reads: 1,
    why: 'the present quarter of an hour, as the end of a report',
  },
  'console/live/click-counts.ts': { reads: 1, why: 'the beginning of the clicks that are counted' },
  'console/page/ui/chart.tsx': { reads: 1, why: 'the end of an axis without values' },
  'console/page/ui/clock.ts': { reads: 2, why: 'ages of times of the API, by the clock of the browser' },
  'console/samples/sample-runs.ts': {
    reads: 2,
    why: 'the beginning and the end of a run, which a person reads',
  },
  'console/webhooks/send.ts': {
    reads: 2,
    why: 'the time in the signature, which receivers compare with their clocks, and dates of Retry-After',
  },
  'contract/link-token.ts': { reads: 1, why: 'the time in a nonce' },
  'ad-server/lambda/redirect-function.ts': {
    reads: 1,
    why: 'functions that are frozen: the steady clock may stand still',
  },
  'ad-server/http/front/answer-bytes.ts': { reads: 1, why: 'the header Date' },
  'ad-server/http/public-pages.ts': { reads: 1, why: 'whether the day of a daily cap is over' },
  'ad-server/redirect/redirect.ts': { reads: 1, why: 'the time of a click' },
  'cli/commands/click-list.ts': { reads: 1, why: 'the end of a period, if none is given' },
  'cli/commands/report.ts': { reads: 1, why: 'the end of a period, if none is given' },
  'cli/commands/rewind.ts': { reads: 1, why: 'a time that the operator gives' },
  'cli/start/embedded-postgres.ts': {
    reads: 1,
    why: 'the age of a file of PostgreSQL, compared with its time of change',
  },
  'common/elapsed.ts': { reads: 2, why: 'functions that are frozen: the steady clock may stand still' },
  'common/parse-time.ts': { reads: 2, why: 'a time that the operator gives' },
  'common/uuid.ts': { reads: 1, why: 'the time in an id' },
  'load-tests/bench/charge-data.ts': { reads: 1, why: 'the time in a nonce' },
  'load-tests/bench/cpu-samples.ts': {
    reads: 1,
    why: 'compared with the beginning of a load, which the database notes',
  },
  'load-tests/bench/kafka-topic.ts': { reads: 1, why: 'the name of a topic' },
  'load-tests/drill/faults/parts.ts': { reads: 1, why: 'a clock that is an hour ahead' },
  'load-tests/drill/faults/rows.ts': { reads: 1, why: 'the days of partitions' },
  'load-tests/drill/prometheus.ts': { reads: 1, why: 'a query names the times of its range' },
  'load-tests/load/ledger-check.ts': { reads: 1, why: 'a time of the ledger' },
  'load-tests/load/population.ts': { reads: 1, why: 'the name of an advertiser' },
  'load-tests/replay/run-replay.ts': { reads: 1, why: 'the age of recorded clicks' },
  'emulators/lambda/runtime.ts': { reads: 1, why: 'the deadline as the platform gives it' },
  'emulators/openwhisk/runtime.ts': { reads: 1, why: 'the deadline as the platform gives it' },
  'emulators/lambda/events.ts': { reads: 2, why: 'the times of records' },
  'emulators/s3/stored-object.ts': { reads: 1, why: 'the time of change of an object' },
  'processor/dispatch/batch-metrics.ts': { reads: 1, why: 'the time from a click to its charge' },
  'processor/functions/openwhisk.ts': { reads: 1, why: 'the deadline as the platform gives it' },
  'processor/maintenance-loop.ts': { reads: 1, why: 'the time of a metric' },
  'ledger/access/api-keys.ts': { reads: 1, why: 'the expiry of a key, which the caller gives' },
  'ledger/charge/user-agents.ts': { reads: 1, why: 'the day on which a text was confirmed' },
  'brokers/kafka/lag.ts': { reads: 1, why: 'the age of a click' },
  'brokers/kafka/platformatic-publisher.ts': {
    reads: 1,
    why: 'the timestamp of a record, for the age of a click',
  },
  'brokers/kinesis/backlog.ts': { reads: 1, why: 'a time that the operator gives' },
  'brokers/kinesis/expired-shards.ts': { reads: 1, why: 'a time of the stream' },
  'brokers/kinesis/positions.ts': { reads: 2, why: 'times of the stream' },
  'brokers/kinesis/shard-reader.ts': { reads: 3, why: 'times of the stream and of clicks' },
  'brokers/kinesis/source.ts': { reads: 1, why: 'a time of the stream' },
  'brokers/postgres/source.ts': { reads: 1, why: 'the age of a click' },
  'producer/relay.ts': { reads: 2, why: 'the age of a spooled click' },
};

/** The ways to read the system clock. `process.hrtime` is steady and not one of them. */
const SYSTEM_CLOCK = /\bDate\s*\.\s*now\b|\bnew\s+Date\s*(\(\s*\)|(?![\w(]))|(?<!new\s|\.)\bDate\s*\(/g;

/** Counts reads of the system clock in a source text, comments aside. */
function systemClockReads(source: string): number {
  const code = source.replace(/\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, '');
  return code.match(SYSTEM_CLOCK)?.length ?? 0;
}

it('the system clock is read for timestamps alone', () => {
  const found = readSources()
    .map(({ path, text }) => [path, systemClockReads(text)] as const)
    .filter(([, reads]) => reads > 0);
  const expected = Object.entries(TIMESTAMPS).map(([path, { reads }]) => [path, reads]);
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
});

it('all ways to read the system clock are recognised', () => {
  expect(systemClockReads('const a = Date.now() - 5; f(Date.now); new Date(); new Date;')).toBe(4);
  expect(systemClockReads('Date()')).toBe(1);
  expect(systemClockReads('new Date(5); performance.now(); x as Date; // Date.now()')).toBe(0);
});
