import { READY } from '../../common/part-health.ts';
import { deadParts, unknownParts } from './dead-parts.ts';
import { answeringParts, type Part } from './parts.ts';

/** The health of a component in one line: `ready` if all its parts are, else what is wrong with which. `null` if none has reported within a day. */
export function healthOf(parts: readonly Part[], component: Part['component']): string | null {
  const own = parts.filter((part) => part.component === component);
  const alive = answeringParts(own, component);
  if (own.length === 0) return null;
  const wrong = [
    ...deadParts(own).map(({ instance }) => `${instance} does not answer`),
    ...unknownParts(own).map(describeUnknown),
    ...alive.filter(({ state }) => state !== 'ready').map(describe),
  ];
  return wrong.length === 0 ? READY : wrong.join('; ');
}

function describeUnknown({ instance, reportedAt }: Part): string {
  return `${instance} is not known: the database has had no report of it since ${reportedAt.toISOString()}`;
}

/** Such as `web-1:8081 not ready (database: away, kafka: slow)`, in the words of `/readyz`. */
function describe({
  instance,
  problems,
  warnings,
}: Pick<Part, 'instance' | 'problems' | 'warnings'>): string {
  const state = problems.length > 0 ? 'not ready' : READY;
  return `${instance} ${state} (${[...problems, ...warnings].join(', ')})`;
}
