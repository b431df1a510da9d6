import { nameOfOutcome, nameOfReason, texts } from '../../texts.ts';

const { events } = texts.clicks;

/** The form of an event: `kind`, `kind: outcome`, `kind: outcome (reason)` or `kind: outcome (dead letter 12)`. */
const EVENT = /^(?<kind>\w+)(?:: (?<outcome>\w+))?(?: \((?:dead letter (?<letter>\d+)|(?<reason>\w+))\))?$/;

/**
 * An event of the history of a click in words, such as `settled: invalid (bot)`. One that is new to the page is shown as it is. The details
 * say the spool and the sequence.
 */
export function describeEvent(event: string): string {
  if (/^accepted\b/.test(event)) return events.accepted;
  const { kind, outcome = '', reason = '', letter = '' } = EVENT.exec(event)?.groups ?? {};
  switch (kind) {
    case 'published':
      return events.published;
    case 'duplicate':
      return events.duplicate;
    case 'settled':
      return events.settled(verdict(outcome, reason));
    case 'rejected':
      return events.rejected(nameOfReason(outcome), letter);
    case 'redriven':
      return events.redriven(verdict(outcome, reason), letter);
    case 'credited':
      return events.credited;
    case 'discarded':
      return events.discarded(letter);
    default:
      return event;
  }
}

const verdict = (outcome: string, reason: string) =>
  nameOfOutcome(outcome).toLowerCase() + (reason === '' ? '' : `, ${nameOfReason(reason)}`);
