import { PassThrough } from 'node:stream';
import { TollwayError } from '../../../common/errors.ts';
import { expectedParts } from '../../../ledger/operations/expected-parts.ts';
import { healthReader } from '../../live/health.ts';
import type { LiveFeed } from '../../live/live-feed.ts';
import { LiveFeeds } from '../../live/live-feeds.ts';
import type { App, Deps } from '../deps.ts';
import { TextBody } from '../text-stream.ts';

/** Time between two comments that keep a connection open through proxies, in ms. It also finds out that a key was revoked or a session has ended. */
const KEEP_ALIVE_MS = 10_000;
/** A client that has more than this to read, in bytes, for two keep-alives is disconnected. */
const UNREAD_BYTES_MAX = 1_048_576;
/** A client that has more than this to read, in bytes, is disconnected at once. All budgets of 10 000 advertisers are 3 MB. */
const BURST_BYTES_MAX = 16 * UNREAD_BYTES_MAX;
/** Streams of one process. */
const STREAMS_MAX = 200;
/** Streams of one caller. */
const STREAMS_OF_CALLER_MAX = 10;

export function eventRoutes(app: App, { pool, config, logger, reportingState }: Deps): void {
  const feeds = new LiveFeeds({
    ...{ pool, logger, readHealth: healthReader(pool, config, reportingState) },
    readReports: () => reportingState?.() ?? null,
    hasPostgresBroker: config.BROKER === 'postgres',
    expected: expectedParts(config),
  });
  /** The open streams, and whom their limit counts. */
  const streams = new Map<PassThrough, string>();
  const stopping = new AbortController();
  void feeds.sampleRates(stopping.signal);
  app.addHook('preClose', async () => {
    stopping.abort();
    for (const stream of streams.keys()) stream.end();
  });

  app.get(
    '/v1/events',
    {
      exposeHeadRoute: false,
      config: { access: 'events.read', errors: ['busy'] },
      schema: {
        ...{ tags: ['Live'], operationId: 'streamEvents', summary: 'Stream what happens now' },
        description: `Server-sent events, about once a second: \`clicks\` (settled since the event before, by outcome), \`budgets\` (those that changed; at first all) and \`latest\` clicks; less often \`reasons\` of clicks that were not charged and \`top\` ads and publishers; and for keys of all advertisers \`flow\` (accepted, relayed and settled), \`books\` (the reconciliation of the last minute), \`problems\` and \`health\` of the parts. \`stale\` means that the database does not answer: what was sent before is as of its \`asOf\`. Keys that are restricted to advertisers get what belongs to these alone, the clicks some seconds late. docs/api.md has the fields of each event.`,
        response: { 200: { content: { 'text/event-stream': { schema: TextBody } } } },
      },
    },
    (request, reply) => {
      const { caller, authentication } = request;
      assertRoom([...streams.values()], authentication.limitedAs);
      const stream = openStream(feeds.of(caller.advertiserIds), authentication.isStillValid);
      streams.set(stream, authentication.limitedAs);
      stream.once('close', () => streams.delete(stream));
      return reply
        .type('text/event-stream')
        .headers({ 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
        .send(stream);
    },
  );
}

/** Throws `busy` if no more streams may be opened. */
function assertRoom(open: readonly string[], limitedAs: string): void {
  if (open.length >= STREAMS_MAX)
    throw new TollwayError(
      'busy',
      `Expected at most ${STREAMS_MAX} streams of events at once; try again later`,
    );
  if (open.filter((one) => one === limitedAs).length >= STREAMS_OF_CALLER_MAX)
    throw new TollwayError(
      'busy',
      `Expected at most ${STREAMS_OF_CALLER_MAX} streams of events of one key or session at once, got more`,
    );
}

/** A stream of the events of a feed, until the client closes it, does not read, or its key or session has ended. */
function openStream(feed: LiveFeed, isValid: () => Promise<boolean>): PassThrough {
  const stream = new PassThrough();
  const send = (text: string) => {
    if (stream.writableEnded) return;
    stream.write(text);
    if (stream.writableLength > BURST_BYTES_MAX) stream.destroy();
  };
  const stop = feed.listen(send);
  let isBehind = false;
  const keepAlive = (valid: boolean) => {
    const wasBehind = isBehind;
    isBehind = stream.writableLength > UNREAD_BYTES_MAX;
    if (isBehind && wasBehind) stream.destroy();
    else if (valid) send(': \n\n');
    else stream.end();
  };
  // While the database does not answer, the stream stays open: it tells that its numbers are stale.
  const timer = setInterval(() => void isValid().then(keepAlive, () => keepAlive(true)), KEEP_ALIVE_MS);
  stream.once('close', () => {
    stop();
    clearInterval(timer);
  });
  return stream;
}
