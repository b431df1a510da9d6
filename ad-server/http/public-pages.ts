import { escapeHtml, renderPage } from '../../common/html-page.ts';
import { formatAmount } from '../../common/money.ts';
import { isUuidV7 } from '../../common/uuid.ts';
import { type CatalogAd, isExhausted, isRunning } from '../../ledger/accounts/catalog-ads.ts';
import {
  SAMPLE_ADVERTISERS,
  SAMPLE_CURRENCY,
  type SampleAdvertiser,
  sampleTemplate,
} from '../../ledger/accounts/sample-advertisers.ts';

const START_PAGE = renderPage(
  'Ad links',
  `<p>This server redirects ad clicks. If an ad brought you here, its link is incomplete: go back to the page with the ad and try again.</p>`,
);

/** The page at a path and query, or `null` if there is none. The page of a sample ad exists only while the ad is in the catalog. */
export function findPage(target: string, findAd: (adId: number) => CatalogAd | undefined): string | null {
  const { path, query } = splitTarget(target);
  if (path === '/') return START_PAGE;
  const sample = SAMPLE_ADVERTISERS.find(({ slug }) => path === `/sample/${slug}`);
  if (sample === undefined) return null;
  const parameters = new URLSearchParams(query);
  const clickId = parameters.get('click') ?? '';
  const ad = findAd(Number(parameters.get('ad')));
  if (ad?.urlTemplate !== sampleTemplate(sample.slug) || !isUuidV7(clickId)) return null;
  return renderSample(sample, ad, clickId);
}

/** Splits a request target. A proxy can send the whole URL, which RFC 9112 §3.2.2 requires servers to accept. */
function splitTarget(target: string): { path: string; query: string } {
  const url = target.startsWith('/') ? null : URL.parse(target);
  if (url !== null) return { path: url.pathname, query: url.search };
  const end = target.indexOf('?');
  return end < 0 ? { path: target, query: '' } : { path: target.slice(0, end), query: target.slice(end) };
}

function renderSample({ name }: SampleAdvertiser, ad: CatalogAd, clickId: string): string {
  return renderPage(
    `You clicked an ad of ${name}`,
    `<p>${escapeHtml(costOf(name, ad, Date.now()))}</p>
<dl><dt>Click id</dt><dd><code>${escapeHtml(clickId)}</code></dd></dl>
<p>To see what happened to this click:</p>
<pre><code>npx tollway click show ${escapeHtml(clickId)}</code></pre>
<p>Each link that <code>npm start</code> prints is charged once. To print another one:</p>
<pre><code>npx tollway link ${ad.id}</code></pre>
<p class="soft">This page stands for the site of the advertiser. <a href="/">Back to the start page</a></p>`,
  );
}

function costOf(name: string, ad: CatalogAd, nowMs: number): string {
  if (ad.paused) return 'The ad is paused, so the click costs nothing.';
  if (!isRunning(ad, nowMs)) return 'The campaign is not running now, so the click costs nothing.';
  if (isExhausted(ad, nowMs) && ad.held)
    return 'The campaign is ahead of its plan, so the click costs nothing.';
  if (isExhausted(ad, nowMs)) return 'The budget no longer pays for this ad, so the click costs nothing.';
  const price = `${formatAmount(BigInt(ad.priceMicros))} ${SAMPLE_CURRENCY}`;
  return `${price} will be charged to ${name}, unless the click is invalid (from a bot, for example) or repeats an earlier one.`;
}
