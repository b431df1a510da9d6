import { parentPort, workerData } from 'node:worker_threads';
import { Pool } from 'undici';
import { errorMessage } from '../../common/errors.ts';
import { sleep } from '../../common/process.ts';
import { createSigner, impressionLink } from '../../contract/link-token.ts';
import { clicksDue, NO_COUNTS, type SampleCounts, type SampleWork, totalClicks } from './sample-run.ts';

/** Time between two looks at how many clicks are due, in ms. */
const STEP_MS = 10;
/** Time between two reports, in ms. */
const REPORT_MS = 250;
const CONNECTIONS = 32;
/** Requests in progress at most: an ad server that is slow gets the clicks later. */
const OPEN_MAX = 256;
/** Longest wait for an answer, in ms. */
const ANSWER_MS_MAX = 5_000;
/** Life of a link, in ms. */
const LINK_MS = 3_600_000;
/** Every n-th click is that of a bot, so that one sees an invalid click. */
const BOT_EVERY = 25;
const BROWSER =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36';
const BOT = 'Googlebot/2.1 (+http://www.google.com/bot.html)';
const PUBLISHERS = ['sample-news', 'sample-blog', 'sample-search', null];

type Counting = { -readonly [Key in keyof SampleCounts]: SampleCounts[Key] };

/** Sends the clicks of a run to the ad server, and reports the counts until all are answered. */
async function sendClicks(work: SampleWork, report: (counts: SampleCounts) => void): Promise<void> {
  const url = new URL(work.publicUrl);
  const pool = new Pool(url.origin, {
    connections: CONNECTIONS,
    headersTimeout: ANSWER_MS_MAX,
    bodyTimeout: ANSWER_MS_MAX,
    connect: { timeout: ANSWER_MS_MAX },
  });
  const counts: Counting = { ...NO_COUNTS };
  const open = new Set<Promise<void>>();
  const beganAtMs = performance.now();
  let reportedAtMs = beganAtMs;
  const sign = createSigner(work.linkKeys);
  const path = url.pathname.replace(/\/$/, '');
  const next = () => {
    const at = counts.sent;
    counts.sent += 1;
    const isBot = at % BOT_EVERY === BOT_EVERY - 1;
    if (isBot) counts.bots += 1;
    const adId = pick(work.adIds);
    const link = impressionLink(adId, LINK_MS, pick(PUBLISHERS) ?? null);
    const answer = click(pool, `${path}/c/${sign(link)}`, isBot ? BOT : BROWSER, counts);
    open.add(answer);
    void answer.then(() => open.delete(answer));
  };
  const total = totalClicks(work);
  while (counts.sent < total) {
    const now = performance.now();
    const due = clicksDue(work, now - beganAtMs);
    while (counts.sent < due && open.size < OPEN_MAX) next();
    if (now - reportedAtMs >= REPORT_MS) {
      reportedAtMs = now;
      report({ ...counts });
    }
    await sleep(STEP_MS);
  }
  await Promise.all(open);
  report({ ...counts });
  await pool.close();
}

/** Sends one click. Never rejects. */
async function click(pool: Pool, path: string, userAgent: string, counts: Counting): Promise<void> {
  try {
    const { statusCode, headers, body } = await pool.request({
      ...{ method: 'GET', path },
      headers: { 'user-agent': userAgent, accept: 'text/html' },
    });
    await body.dump();
    const clickId = headers['tollway-click'];
    if (statusCode !== 302) {
      counts.failed += 1;
      counts.failure = `status ${statusCode}`;
    } else if (clickId === undefined || clickId === 'none') counts.unrecorded += 1;
    else counts.answered += 1;
  } catch (error) {
    counts.failed += 1;
    counts.failure = errorMessage(error);
  }
}

function pick<T>(values: readonly T[]): T {
  // The first values come more often: one ad and one publisher lead, as on a real network.
  const at = Math.floor(Math.random() ** 2 * values.length);
  return values[at] as T;
}

await sendClicks(workerData as SampleWork, (counts) => parentPort?.postMessage(counts));
