import {
  formatAmount,
  formatCount,
  formatDuration,
  formatEstimate,
  formatExactTime,
  formatTime,
} from '../format.ts';
import { nameOfOutcome, texts } from '../texts.ts';
import { clock } from './clock.ts';

type AmountProps = {
  readonly value: string;
  readonly currency: string;
  /** Whether it is a rate or the like, whose last digits mean nothing. */
  readonly isEstimate?: boolean;
};

/** An amount with its currency. */
export function Amount({ value, currency, isEstimate = false }: AmountProps) {
  return (
    <span class="number">
      {(isEstimate ? formatEstimate : formatAmount)(value, currency)}
      <span class="currency">{currency}</span>
    </span>
  );
}

export function Count({ value }: { readonly value: number }) {
  return <span class="number">{formatCount(value)}</span>;
}

type TimeProps = {
  readonly at: string;
  readonly zone?: string;
  /** Whether milliseconds are shown. */
  readonly isExact?: boolean;
};

/** A time in the viewer's time zone, or in `zone`; the mouse shows it in UTC. */
export function Time({ at, zone = '', isExact = false }: TimeProps) {
  return (
    <time dateTime={at} title={at}>
      {isExact ? formatExactTime(at, zone) : formatTime(at, zone)}
    </time>
  );
}

/** How long ago a time was, kept up to date. */
export function Ago({ at }: { readonly at: string }) {
  const seconds = (clock.value - Date.parse(at)) / 1_000;
  return (
    <time dateTime={at} title={formatTime(at)}>
      {seconds < 1 ? texts.units.now : texts.units.ago(formatDuration(Math.floor(seconds)))}
    </time>
  );
}

const STATUS_TONES: Readonly<Record<string, string>> = { active: 'good', paused: 'warn' };

/** The status of an advertiser, a campaign or an ad. */
export function StatusTag({ status }: { readonly status: string }) {
  return <span class={`tag ${STATUS_TONES[status] ?? ''}`}>{texts.status[status] ?? status}</span>;
}

/** An outcome with its colour. */
export function Outcome({ outcome }: { readonly outcome: string }) {
  return <span class={`outcome ${outcome}`}>{nameOfOutcome(outcome)}</span>;
}

type MeterProps = {
  /** 0–1. */
  readonly share: number;
  readonly label: string;
  /** `low` and `empty`: of what should not run out. `full`: of what may be used up, such as the cap of a day. */
  readonly tone?: 'low' | 'empty' | 'full' | undefined;
  /** Where a line marks a plan, 0–1. */
  readonly mark?: number | undefined;
};

/** A bar that shows a share. */
export function Meter({ share, label, tone, mark }: MeterProps) {
  const percent = percentOf(share);
  return (
    // biome-ignore lint/a11y/useSemanticElements: Browsers draw <meter> in their own colours.
    <div
      class={tone ? `meter is-${tone}` : 'meter'}
      role="meter"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(percent)}
    >
      <div class="fades" style={{ width: `${percent}%` }} />
      {mark !== undefined && <span class="mark" style={{ left: `${percentOf(mark)}%` }} />}
    </div>
  );
}

type ProgressProps = {
  /** 0–1. */
  readonly share: number;
  readonly label: string;
  /** The same in words. */
  readonly text: string;
};

/** A bar that shows how far something is. */
export function Progress({ share, label, text }: ProgressProps) {
  const percent = percentOf(share);
  return (
    // Browsers draw <progress> in their own colours.
    <div
      class="meter"
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={Math.round(percent)}
      aria-valuetext={text}
    >
      <div class="fades" style={{ width: `${percent}%` }} />
    </div>
  );
}

const percentOf = (share: number) => Math.max(0, Math.min(100, share * 100));

/** A number with its name, and a line about it that keeps its height. */
export function Stat(props: {
  readonly label: string;
  readonly value: preact.ComponentChildren;
  readonly sub?: preact.ComponentChildren;
}) {
  return (
    <div class="stat">
      <dt>{props.label}</dt>
      <dd>{props.value}</dd>
      <dd class="sub">{props.sub}</dd>
    </div>
  );
}
