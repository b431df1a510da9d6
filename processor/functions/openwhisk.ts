import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { readMessages } from '../events/openwhisk-messages.ts';
import { FunctionRuntime, type Invocation } from './function-runtime.ts';

const name = 'openwhisk';
/** One home for the messages, and one without haste for what is scheduled; each with the settings it was opened with. */
const runtimes = new Map<string, { readonly runtime: FunctionRuntime; readonly settings: string }>();

type Params = Readonly<Record<string, unknown>>;

/**
 * Charges a batch of OpenWhisk's Kafka feed. The feed has committed it already and brings it no more: so this waits and tries
 * again until its time is over, and says what was not settled. A processor on the same topic, or `rewind`, charges it later.
 */
export async function main(params: Params): Promise<{ records: number; settled: number }> {
  const records = readMessages(name, params);
  const runtime = runtimeOf(name, params);
  const settled = await runtime.settle(records, invocation());
  const lost = records[settled];
  if (lost === undefined) return { records: records.length, settled };
  const all = counted(records.length, 'record');
  throw new TollwayError(
    'not_settled',
    `${name}: ${counted(records.length - settled, `of ${all} was`, `of ${all} were`)} not settled in time, from ${lost.position} on; ` +
      `the feed does not bring them again, a processor on this topic does${runtime.problem === null ? '' : ` (${runtime.problem})`}`,
  );
}

/** Asks the books, by a schedule; with the parameter `deep` row by row. */
export async function reconcile(params: Params): Promise<object> {
  // Asked first: activations at the same time share the environment.
  const asked = invocation();
  const { reportReconciliation } = await import('./report-reconciliation.ts');
  const deep = params.deep === true;
  return runtimeOf('openwhisk-reconcile', params, 0).during(asked, (rooms, time) =>
    reportReconciliation(rooms, { ...time, deep }),
  );
}

/** Maintains the ledger, by a schedule. */
export async function maintain(params: Params): Promise<object> {
  const asked = invocation();
  const { maintainLedger } = await import('../maintenance-loop.ts');
  return runtimeOf('openwhisk-maintain', params, 0).during(asked, maintainLedger);
}

/** OpenWhisk binds settings as parameters of the action; they count before the environment. */
function runtimeOf(functionName: string, params: Params, queryMsMax?: number): FunctionRuntime {
  const settings = Object.entries(params)
    .filter(([key, value]) => /^[A-Z][A-Z0-9_]*$/.test(key) && typeof value !== 'object')
    .map(([key, value]) => [key, String(value)]);
  const known = runtimes.get(functionName);
  const now = JSON.stringify(settings);
  if (known?.settings === now) return known.runtime;
  // Its package was updated while it was warm: another password, perhaps.
  void known?.runtime.close();
  const runtime = new FunctionRuntime(
    functionName,
    { ...process.env, ...Object.fromEntries(settings) },
    queryMsMax,
  );
  runtimes.set(functionName, { runtime, settings: now });
  return runtime;
}

/** https://github.com/apache/openwhisk/blob/master/docs/actions.md#accessing-action-metadata-within-the-action-body */
function invocation(): Invocation {
  const { __OW_ACTIVATION_ID: id = '', __OW_DEADLINE: deadline } = process.env;
  // The platform gives Unix ms; from here on a steady clock counts.
  const deadlineAt = deadline ? performance.now() + Number(deadline) - Date.now() : null;
  return { id, deadlineAt };
}
