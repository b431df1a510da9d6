import type { ComponentChildren } from 'preact';
import { Time } from './values.tsx';

export type Moment = { readonly at: string; readonly text: ComponentChildren };

type TimelineProps = {
  readonly moments: readonly Moment[];
  /** The time zone of the times; by default that of the viewer. */
  readonly zone?: string;
  /** Whether milliseconds are shown. */
  readonly isExact?: boolean;
};

/** What happened, one after the other. */
export function Timeline({ moments, zone = '', isExact = false }: TimelineProps) {
  return (
    <ol class="timeline">
      {moments.map(({ at, text }, index) => (
        <li key={index}>
          <span class="sub">
            <Time at={at} zone={zone} isExact={isExact} />
          </span>
          {text}
        </li>
      ))}
    </ol>
  );
}
