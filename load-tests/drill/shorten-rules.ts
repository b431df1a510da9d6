import { parse, stringify } from 'yaml';

/** Each duration of a rule is divided by this. */
const DIVISOR = 60;
/** Limits of a range in an expression, in seconds. At one scrape per second, fewer are too few for a rate; more make the drill long. */
const RANGE_SECONDS = { min: 5, max: 30 };
/** Limits of `for` and `keep_firing_for`, in seconds. */
const WAIT_SECONDS = { min: 1, max: 5 };
const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** A replacement in the expression of an alert, such as `['> 900', '> 10']`. */
export type Replacement = readonly [before: string, after: string];

export type Rule = {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly keep_firing_for?: string;
  readonly annotations: Readonly<Record<string, string>>;
};
type Rules = { readonly groups: readonly { readonly name: string; readonly rules: readonly Rule[] }[] };

/** The alerts of a file of rules. */
export function alertsIn(text: string): readonly Rule[] {
  return parseRules(text).groups.flatMap(({ rules }) => rules);
}

/**
 * Shortens the rules of alerts, so that each fires and ends within seconds: an hour in an expression becomes 30 s, `for: 5m` 5 s. `thresholds`
 * then replaces parts of the shortened expressions, by alert. Throws if an expression does not have such a part, or an alert does not exist.
 */
export function shortenRules(
  text: string,
  thresholds: Readonly<Record<string, readonly Replacement[]>>,
): string {
  const { groups } = parseRules(text);
  const unknown = Object.keys(thresholds).filter(
    (name) => !alertsIn(text).some(({ alert }) => alert === name),
  );
  if (unknown.length > 0)
    throw new Error(`Expected thresholds of alerts that exist, got ${unknown.join(', ')}`);
  const shortened = groups.map((group) => ({
    ...group,
    rules: group.rules.map((rule) => shortenRule(rule, thresholds[rule.alert] ?? [])),
  }));
  return stringify({ groups: shortened });
}

function shortenRule(rule: Rule, replacements: readonly Replacement[]): Rule {
  let expr = rule.expr.replaceAll(
    /(\[|\boffset )(\d+[smhd])\b/g,
    (_, start, length) => start + shorten(length, RANGE_SECONDS),
  );
  for (const [before, after] of replacements) {
    if (!expr.includes(before))
      throw new Error(`Expected "${before}" in the expression of ${rule.alert}, got ${expr}`);
    expr = expr.replaceAll(before, after);
  }
  return {
    ...rule,
    expr,
    ...(rule.for && { for: shorten(rule.for, WAIT_SECONDS) }),
    ...(rule.keep_firing_for && { keep_firing_for: shorten(rule.keep_firing_for, WAIT_SECONDS) }),
  };
}

function shorten(length: string, { min, max }: { readonly min: number; readonly max: number }): string {
  const seconds = (Number(length.slice(0, -1)) * (UNIT_SECONDS[length.slice(-1)] ?? Number.NaN)) / DIVISOR;
  return `${Math.round(Math.min(max, Math.max(min, seconds)))}s`;
}

function parseRules(text: string): Rules {
  // A parsing boundary: promtool checks the file, and tests run it.
  return parse(text) as Rules;
}
