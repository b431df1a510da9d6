import { escapeHtml, renderPage } from '../html-page.ts';
import { readVersion } from '../version.ts';

/** The page at `/` of an operations port: the component, its version, and links to the other paths. */
export function renderOperationsPage(component: string): string {
  return renderPage(
    `Tollway ${component}`,
    `<p>Operations port of the ${escapeHtml(component)}, version ${escapeHtml(readVersion())}.</p>
<dl>
<dt><a href="/readyz">/readyz</a></dt><dd>whether it is ready, with reasons and warnings</dd>
<dt><a href="/healthz">/healthz</a></dt><dd>whether the process answers</dd>
<dt><a href="/metrics">/metrics</a></dt><dd>metrics for Prometheus</dd>
</dl>
<p class="soft">For operators only. Do not expose this port to the internet.</p>`,
  );
}
