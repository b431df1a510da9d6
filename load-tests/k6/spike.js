// The spike of `npm run load -- spike` as a k6 script: https://grafana.com/docs/k6/
//
//   npx tollway link 1 --count 100000 > links.txt
//   k6 run -e LINKS=links.txt -e BASE=200 -e FACTOR=10 load-tests/k6/spike.js
//
// The load is an open model: slow answers do not delay arrivals. k6 measures latency from the time a request is sent. It drops arrivals for
// which it has no free virtual user and counts them (`dropped_iterations`); raise MAX_USERS in that case.
// The clicks are charged. Run `npx tollway reconcile` afterwards to check that none is missing.
import { check } from 'k6';
import { SharedArray } from 'k6/data';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const BASE = numberOf('BASE', 200);
const FACTOR = numberOf('FACTOR', 10);
const RAMP = __ENV.RAMP || '10s';
const HOLD = __ENV.HOLD || '60s';
/** Shares of all arrivals, 0–1. The remaining arrivals are visitors who click a link. */
const ROBOTS = numberOf('ROBOTS', 0.05);
const PREFETCHES = numberOf('PREFETCHES', 0.02);
const FORGED = numberOf('FORGED', 0.01);
const P99_MS = numberOf('P99_MS', 25);
const PEAK = Math.round(BASE * FACTOR);

const LINKS_FILE = __ENV.LINKS || 'links.txt';
// A SharedArray reads the file once for all virtual users. A relative path is resolved against the folder in which k6 was started.
const links = new SharedArray('links', () => {
  const path = LINKS_FILE.startsWith('/') ? LINKS_FILE : `${__ENV.PWD || '.'}/${LINKS_FILE}`;
  const found = open(path)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => /^https?:\/\/.+\/c\/./.test(line));
  if (found.length === 0)
    throw new Error(
      `LINKS: expected links in ${path}, as printed by npx tollway link 1 --count 1000, got none`,
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
        // Back to the base rate without a ramp.
        { duration: '0s', target: Math.round(BASE) },
        { duration: '5s', target: Math.round(BASE) },
      ],
    },
  },
  // Redirects lead to advertisers. They are checked but not followed.
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
/** The headers of each kind of arrival, and the status that the ad server must answer. */
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
  const iteration = exec.scenario.iterationInTest;
  const name = pickKind(Math.random());
  const { status, headers, expected } = KINDS[name];
  const link = links[iteration % links.length];
  const response = http.get(name === 'forged' ? forge(link) : link, {
    headers,
    responseCallback: expected,
    // The same name for all links, because k6 keeps metrics for each name.
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
    check(response, { 'a prefetch is refused (503)': () => response.status === 503 });
  else check(response, { 'a forged link is refused (404)': () => response.status === 404 });
}

function pickKind(at) {
  if (at < ROBOTS) return 'robot';
  if (at < ROBOTS + PREFETCHES) return 'prefetch';
  return at < ROBOTS + PREFETCHES + FORGED ? 'forged' : 'person';
}

/** The link with a different tag of the same length. */
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
