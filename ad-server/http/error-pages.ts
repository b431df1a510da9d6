import { readFileSync, statSync } from 'node:fs';
import { errorMessage, TollwayError } from '../../common/errors.ts';
import { escapeHtml, PAGE_POLICY, renderPage } from '../../common/html-page.ts';

/** Largest ERROR_PAGE_FILE, in bytes. */
const TEMPLATE_BYTES_MAX = 65_536;
const PLACEHOLDER = /\{(status|title|message)\}/g;

type PageText = { readonly status: number; readonly title: string; readonly message: string };

const BAD_REQUEST = {
  title: 'Bad request',
  message: 'The server cannot read this request. No click was recorded.',
};

/** The texts of the error pages. */
const TEXTS = {
  notFound: {
    status: 404,
    title: 'Link not found',
    message:
      'The link is incomplete or was changed. No click was recorded. Go back to the page with the link and try again.',
  },
  notReady: {
    status: 503,
    title: 'Link not ready yet',
    message:
      'This link is new, or the server has just started. No click was recorded. Try again in a minute.',
  },
  unavailable: {
    status: 503,
    title: 'Try again in a moment',
    message: 'The server cannot take this click now. No click was recorded.',
  },
  wrongMethod: {
    status: 405,
    title: 'Method not allowed',
    message: 'Open this link in a browser. No click was recorded.',
  },
  badRequest: { status: 400, ...BAD_REQUEST },
  timeout: { status: 408, ...BAD_REQUEST },
  headersTooLarge: { status: 431, ...BAD_REQUEST },
} satisfies Record<string, PageText>;

/** The error pages of the public port, as UTF-8. */
export type ErrorPages = {
  readonly pages: Readonly<Record<keyof typeof TEXTS, Buffer>>;
  /** The `Content-Security-Policy` of the pages; `null` with a template, which can load resources of its own. */
  readonly policy: string | null;
};

/**
 * Renders the error pages, with the template in the file `path` (ERROR_PAGE_FILE) or, without one, with Tollway's own. Throws
 * `bad_error_page` if the file cannot be read or is not a template.
 */
export function createErrorPages(path: string | undefined): ErrorPages {
  const template = path === undefined ? null : readTemplate(path);
  const pages = Object.fromEntries(
    Object.entries(TEXTS).map(([name, text]) => [name, Buffer.from(renderErrorPage(template, text))]),
  );
  // The cast is safe: the loop above rendered a page for every key of TEXTS.
  return { pages: pages as ErrorPages['pages'], policy: template === null ? PAGE_POLICY : null };
}

/** Renders one error page as HTML, from a template or, with `null`, from Tollway's own. Escapes the values. */
export function renderErrorPage(template: string | null, { status, title, message }: PageText): string {
  if (template === null) return renderPage(title, `<p>${escapeHtml(message)}</p>`);
  const values: Readonly<Record<string, string>> = { status: String(status), title, message };
  return template.replace(PLACEHOLDER, (_, name: string) => escapeHtml(values[name] ?? ''));
}

function readTemplate(path: string): string {
  const refuse = (expected: string, cause?: unknown): never => {
    throw new TollwayError('bad_error_page', `ERROR_PAGE_FILE: expected ${expected}`, { cause });
  };
  let bytes = Buffer.alloc(0);
  try {
    const stats = statSync(path);
    if (!stats.isFile()) refuse(`a file, got something else: ${path}`);
    if (stats.size > TEMPLATE_BYTES_MAX)
      refuse(`at most ${TEMPLATE_BYTES_MAX} bytes, got ${stats.size}: ${path}`);
    bytes = readFileSync(path);
  } catch (error) {
    if (error instanceof TollwayError) throw error;
    refuse(`a file that can be read, got ${errorMessage(error)}`, error);
  }
  let template = '';
  try {
    // The decoder removes a byte order mark.
    template = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (error) {
    refuse(`UTF-8, got other bytes: ${path}`, error);
  }
  if (!template.includes('{message}')) refuse(`the placeholder {message}, found none: ${path}`);
  return template;
}
