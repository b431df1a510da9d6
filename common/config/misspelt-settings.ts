import type { Logger } from '../telemetry/logger.ts';
import { settings } from './config.ts';

type Environment = Readonly<Record<string, string | undefined>>;
/** An environment variable that is not a setting, and the setting that was probably meant. */
export type MisspeltSetting = { readonly name: string; readonly nearest: string };

/** Maximum edits (insert, delete, replace or swap a character) of a misspelling; fewer for short names, which resemble unrelated variables. */
const EDITS_MAX = 2;
const EDITS_MAX_SHORT = 1;
const SHORT_CHARS_MAX = 10;
/** Longer names are not compared. */
const NAME_CHARS_MAX = 50;

/** The variables of an environment that are not settings and look like one, such as `KAFKA_BROKER` or `TOLLWAY_BROKER`. */
export function misspeltSettings(env: Environment): MisspeltSetting[] {
  return Object.entries(env).flatMap(([name, value]) => {
    // An empty variable counts as unset.
    if (!value || name in settings || name.length > NAME_CHARS_MAX) return [];
    const nearest = nearestSetting(name.toUpperCase().replace(/^TOLLWAY_/, ''));
    return nearest === null ? [] : [{ name, nearest }];
  });
}

/** The warning about a misspelt setting. */
export function describeMisspelt({ name, nearest }: MisspeltSetting): string {
  return `The environment variable ${name} is not a setting of Tollway and is ignored. Did you mean ${nearest}?`;
}

/** Logs a warning for each misspelt setting. Values are not logged: they may be secret. */
export function warnOfMisspelt(env: Environment, logger: Logger): void {
  for (const misspelt of misspeltSettings(env)) logger.warn(describeMisspelt(misspelt));
}

function nearestSetting(given: string): string | null {
  let nearest: string | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const setting of Object.keys(settings)) {
    const editsMax = setting.length <= SHORT_CHARS_MAX ? EDITS_MAX_SHORT : EDITS_MAX;
    if (Math.abs(given.length - setting.length) > editsMax) continue;
    const edits = countEdits(given, setting);
    if (edits <= editsMax && edits < least) [nearest, least] = [setting, edits];
  }
  return nearest;
}

/** The optimal string alignment distance: https://en.wikipedia.org/wiki/Damerau–Levenshtein_distance */
function countEdits(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  const at = (cells: readonly number[], index: number) => cells[index] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const replaced = at(row, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped =
        a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(before, j - 2) + 1 : Number.POSITIVE_INFINITY;
      next.push(Math.min(at(row, j) + 1, at(next, j - 1) + 1, replaced, swapped));
    }
    [before, row] = [row, next];
  }
  return at(row, b.length);
}
