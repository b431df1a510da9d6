import { createHash } from 'node:crypto';

/** The style of every page: system fonts, the browser's light or dark scheme, and no resources to load. */
const STYLE = `
:root { color-scheme: light dark; --text: #1f2933; --soft: #5b6673; --back: #fbfaf7; --block: #f0eee8; --line: #e0dcd2; --link: #1d5fa8; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6e9; --soft: #9aa5b1; --back: #16191d; --block: #20252b; --line: #323942; --link: #83b5f0; }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; min-height: 100svh; display: flex; font: 1rem/1.6 system-ui, sans-serif;
  color: var(--text); background: var(--back); -webkit-text-size-adjust: 100%; }
main { width: 100%; max-width: 39rem; margin: auto; padding: 2rem 1.5rem; overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.3; font-weight: 650; letter-spacing: -.01em; margin: 0 0 .75rem; }
p, pre, dl { margin: 0 0 1rem; }
main > :last-child { margin-bottom: 0; }
a { color: var(--link); text-underline-offset: .15em; }
code, pre { font: .875em/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { padding: .7rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; background: var(--block); border: 1px solid var(--line); border-radius: 6px; }
pre code { font-size: 1em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.25rem; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.soft { color: var(--soft); font-size: .9rem; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; } }
`;

/** The `Content-Security-Policy` of the pages of {@link renderPage}: their own style, no scripts, no frames, no other resources. */
export const PAGE_POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Escapes a text for HTML, in an element or in a quoted attribute. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? character);
}

/** Renders a complete page. `title` is text and also the heading; `body` is HTML. */
export function renderPage(title: string, body: string): string {
  const heading = escapeHtml(title);
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${heading}</title>
<style>${STYLE}</style>
<main>
<h1>${heading}</h1>
${body}
</main>
</html>
`;
}
