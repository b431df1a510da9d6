// The spike of `npm run load -- spike`, for people who use k6: https://grafana.com/docs/k6/
//
//   npx tollway link 1 --count 100000 > links.txt
//   k6 run -e LINKS=links.txt -e BASE=200 -e FACTOR=10 load-tests/k6/spike.js
//
// An open model: arrivals come when they are due, however slow the answers are. k6 counts a latency from when a request is sent,
// and an arrival for which it has no virtual user is dropped and counted (`dropped_iterations`): more MAX_USERS help.
// Clicks are charged. `npx tollway reconcile` says afterwards whether one was lost.
import { check } from 'k6';
import { SharedArray } from 'k6/data';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const BASE = numberOf('BASE', 200);
const FACTOR = numberOf('FACTOR', 10);
const RAMP = __ENV.RAMP || '10s';
const HOLD = __ENV.HOLD || '60s';
/** Parts of all arrivals, 0–1. What is left of them are people with a link that nobody has used. */
const ROBOTS = numberOf('ROBOTS', 0.05);
const PREFETCHES = numberOf('PREFETCHES', 0.02);
const FORGED = numberOf('FORGED', 0.01);
const P99_MS = numberOf('P99_MS', 25);
const PEAK = Math.round(BASE * FACTOR);

const LINKS_FILE = __ENV.LINKS || 'links.txt';
// Read once, and not once for each virtual user. A path that does not begin with a slash is looked for where k6 was started.
const links = new SharedArray('links', () => {
  const path = LINKS_FILE.startsWith('/') ? LINKS_FILE : `${__ENV.PWD || '.'}/${LINKS_FILE}`;
  const found = open(path)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => /^https?:\/\/.+\/c\/./.test(line));
  if (found.length === 0)
    throw new Error(
      `LINKS: expected links in ${path}, as npx tollway link 1 --count 1000 writes them, got none`,
    );
  return found;
});

export const options = {
  scenarios: {
    spike: {
      executor: 'ramping-arrival-rate',
      startRate: Math.round(BASE),
      timeUnit: '1s',
      preAllocatedVUs: Math.max(50, Math.min(2_000, Math.round(PEAK / 10))),
      maxVUs: numberOf('MAX_USERS', Math.max(500, PEAK)),
      stages: [
        { duration: '5s', target: Math.round(BASE) },
        { duration: RAMP, target: PEAK },
        { duration: HOLD, target: PEAK },
        // Down at once.
        { duration: '0s', target: Math.round(BASE) },
        { duration: '5s', target: Math.round(BASE) },
      ],
    },
  },
  // A redirect leads to the advertiser: it is looked at, and not followed.
  maxRedirects: 0,
  discardResponseBodies: true,
  noConnectionReuse: false,
  summaryTrendStats: ['med', 'p(90)', 'p(99)', 'p(99.9)', 'max'],
  thresholds: {
    checks: ['rate==1'],
    dropped_iterations: ['count==0'],
    'http_req_duration{kind:person}': [`p(99)<=${P99_MS}`],
    'http_req_failed{kind:person}': ['rate==0'],
    clicks_recorded: ['count>0'],
  },
};

const recorded = new Counter('clicks_recorded');
const CLICK_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const BROWSER = {
  'User-Agent':
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
  Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8',
  'Accept-Language': 'en-US,en;q=0.9',
};
/** What an arrival sends, and the status that the ad server owes it. */
const KINDS = {
  person: { status: 302, headers: BROWSER },
  robot: {
    status: 302,
    headers: { 'User-Agent': 'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)' },
  },
  prefetch: { status: 503, headers: Object.assign({ 'Sec-Purpose': 'prefetch;prerender' }, BROWSER) },
  forged: { status: 404, headers: BROWSER },
};
for (const kind of Object.values(KINDS)) kind.expected = http.expectedStatuses(kind.status);

export default function click() {
  const turn = exec.scenario.iterationInTest;
  const name = pickKind(Math.random());
  const { status, headers, expected } = KINDS[name];
  const link = links[turn % links.length];
  const response = http.get(name === 'forged' ? forge(link) : link, {
    headers,
    responseCallback: expected,
    // One name for all links, or each would be a row of its own.
    tags: { kind: name, name: '/c/…' },
  });
  const clickId = response.headers['Tollway-Click'] || '';
  if (status === 302) {
    check(response, {
      'redirected (302)': () => response.status === 302,
      'the click is recorded (Tollway-Click)': () => CLICK_ID.test(clickId),
    });
    if (CLICK_ID.test(clickId)) recorded.add(1);
  } else if (name === 'prefetch')
    check(response, { 'a prefetch is turned away (503)': () => response.status === 503 });
  else check(response, { 'a forged link is turned away (404)': () => response.status === 404 });
}

function pickKind(at) {
  if (at < ROBOTS) return 'robot';
  if (at < ROBOTS + PREFETCHES) return 'prefetch';
  return at < ROBOTS + PREFETCHES + FORGED ? 'forged' : 'person';
}

/** Another tag, of the same length. */
function forge(link) {
  const at = link.length - 22;
  return `${link.slice(0, at)}${link[at] === 'A' ? 'B' : 'A'}${link.slice(at + 1)}`;
}

function numberOf(name, fallback) {
  const text = __ENV[name];
  if (text === undefined || text === '') return fallback;
  const number = Number(text);
  if (number >= 0) return number;
  throw new Error(`${name}: expected a number, got "${text}"`);
}
