import { computed, signal } from '@preact/signals';

const location = signal(new URL(window.location.href));

/** The path of the shown view, such as `/advertisers/4`. */
export const path = computed(() => location.value.pathname);
/** The parameters of the query: filters, pages, the chosen tab. */
export const query = computed(() => location.value.searchParams);

/** Shows another view, as a link does. `replace` keeps the entry of the browser's history, for filters. */
export function go(to: string, { replace = false } = {}): void {
  const target = new URL(to, window.location.href);
  if (target.href === window.location.href) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', target);
  const isOtherView = target.pathname !== location.value.pathname;
  location.value = target;
  if (isOtherView) window.scrollTo(0, 0);
}

/** Changes parameters of the query of this view; an empty text or `undefined` removes one. */
export function setQuery(changes: Readonly<Record<string, string | undefined>>): void {
  const target = new URL(location.value);
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined || value === '') target.searchParams.delete(name);
    else target.searchParams.set(name, value);
  }
  go(target.href, { replace: true });
}

/** The segments of the path, decoded: `['advertisers', '4']`. */
export const segments = computed(() => path.value.split('/').filter(Boolean).map(decodeSegment));

function decodeSegment(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Paths that the server answers itself. */
const OUTSIDE = /^\/(v1|reference|assets)(\/|$)/;

/** Follows links inside the page without loading it again, and the buttons of the browser's history. Call it once. */
export function followLinks(): void {
  window.addEventListener('popstate', () => {
    location.value = new URL(window.location.href);
  });
  document.addEventListener('click', (event) => {
    if (event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest('a');
    if (!link?.href || link.target || link.hasAttribute('download')) return;
    const target = new URL(link.href);
    if (target.origin !== window.location.origin || OUTSIDE.test(target.pathname)) return;
    if (target.hash && target.pathname === path.value) return;
    event.preventDefault();
    go(target.href);
  });
}
