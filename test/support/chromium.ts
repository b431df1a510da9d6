import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Arguments of a Chromium that shows pages of this machine only, to nobody. */
export const CHROMIUM_ARGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** The program of the environment variable `CHROMIUM`, or `chromium` of the path; `null` without either. */
export function findChromium(): string | null {
  const { CHROMIUM, PATH = '' } = process.env;
  const candidates = CHROMIUM ? [CHROMIUM] : PATH.split(delimiter).map((folder) => join(folder, 'chromium'));
  return candidates.find(canRun) ?? null;
}

/** What is missing for tests in a browser, and how to install it; `null` if nothing is. */
export function chromiumIsMissing(): string | null {
  return findChromium() === null
    ? 'Chromium is missing: install chromium, or set CHROMIUM to the path of a Chrome'
    : null;
}

function canRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
