import { effect, signal } from '@preact/signals';

export const THEMES = ['system', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

const KEY = 'tollway-theme';

/** The chosen colours, kept in this browser. */
export const theme = signal<Theme>(readTheme());

function readTheme(): Theme {
  try {
    const stored = localStorage.getItem(KEY);
    return THEMES.find((one) => one === stored) ?? 'system';
  } catch {
    // The browser stores nothing for this page.
    return 'system';
  }
}

/** Applies the chosen colours now and at each change. Call it once. */
export function applyTheme(): void {
  effect(() => {
    document.documentElement.dataset.theme = theme.value;
    try {
      localStorage.setItem(KEY, theme.value);
    } catch {
      // It then lasts until the page is loaded again.
    }
  });
}
