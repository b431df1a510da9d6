import { PassThrough } from 'node:stream';
import { TollwayError } from '../../../common/errors.ts';
import { isKeyValid } from '../../../ledger/api-keys.ts';
import { healthReader } from '../../live/health.ts';
import { encodeEvent, type LiveEvent } from '../../live/live-events.ts';
import type { LiveFeed } from '../../live/live-feed.ts';
import { LiveFeeds } from '../../live/live-feeds.ts';
import type { App, Deps } from '../deps.ts';
import { TextBody } from '../text-stream.ts';

/** Time between two comments that keep a connection open through proxies, in ms. It also finds out that a key was revoked. */
const KEEP_ALIVE_MS = 10_000;
/** A client that has read less than this, in bytes, of what was sent is disconnected. */
const UNREAD_BYTES_MAX = 1_048_576;
/** Streams of one process. */
const STREAMS_MAX = 200;

export function eventRoutes(app: App, { pool, config }: Deps): void {
  const feeds = new LiveFeeds({ pool, readHealth: healthReader(pool, config) });
  const streams = new Set<PassThrough>();
  app.addHook('preClose', async () => {
    for (const stream of streams) stream.end();
  });

  app.get(
    '/v1/events',
    {
      exposeHeadRoute: false,
      config: { access: 'events.read' },
      schema: {
        ...{ tags: ['Live'], operationId: 'streamEvents', summary: 'Stream what happens now' },
        description: `Server-sent events, about once a second: \`clicks\` (settled since the event before, by outcome), \`budgets\` (those that changed; at first all), and for keys of all advertisers \`backlog\` (accepted and not settled) and \`health\` of the parts. \`stale\` means that the database does not answer: what was sent before is as of its \`asOf\`. Keys that are restricted to advertisers get clicks and budgets of these, the clicks up to three seconds late.`,
        response: { 200: { content: { 'text/event-stream': { schema: TextBody } } } },
      },
    },
    (request, reply) => {
      if (streams.size >= STREAMS_MAX)
        throw new TollwayError(
          'busy',
          `Expected at most ${STREAMS_MAX} streams of events at once; try again later`,
        );
      const { keyId, advertiserIds } = request.caller;
      const stream = openStream(feeds.of(advertiserIds), () => isKeyValid(pool, keyId));
      streams.add(stream);
      stream.once('close', () => streams.delete(stream));
      return reply
        .type('text/event-stream')
        .headers({ 'cache-control': 'no-store', 'x-accel-buffering': 'no' })
        .send(stream);
    },
  );
}

/** A stream of the events of a feed, until the client closes it, does not read, or its key is not valid any more. */
function openStream(feed: LiveFeed, isValid: () => Promise<boolean>): PassThrough {
  const stream = new PassThrough();
  const send = (text: string) => {
    if (stream.writableEnded) return;
    stream.write(text);
    if (stream.writableLength > UNREAD_BYTES_MAX) stream.destroy();
  };
  const stop = feed.listen((event: LiveEvent) => send(encodeEvent(event)));
  const timer = setInterval(() => {
    // While the database does not answer, the stream stays open: it tells that its numbers are stale.
    void isValid().then(
      (valid) => (valid ? send(': \n\n') : stream.end()),
      () => send(': \n\n'),
    );
  }, KEEP_ALIVE_MS);
  stream.once('close', () => {
    stop();
    clearInterval(timer);
  });
  return stream;
}
