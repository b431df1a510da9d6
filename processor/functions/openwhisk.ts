import { counted } from '../../common/counted.ts';
import { TollwayError } from '../../common/errors.ts';
import { readMessages } from '../events/openwhisk-messages.ts';
import { FunctionRuntime, type Invocation } from './function-runtime.ts';

const name = 'openwhisk';
/** The runtimes of the actions in this process, by action, each with the settings it was created with. */
const runtimes = new Map<string, { readonly runtime: FunctionRuntime; readonly settings: string }>();

type Params = Readonly<Record<string, unknown>>;

/**
 * Charges a batch of OpenWhisk's Kafka feed. The feed has committed the batch before and never delivers it again, so the action retries
 * until its deadline and then throws `not_settled` with the first unsettled position. A processor on the same topic, or `rewind`, charges
 * the rest later.
 */
export async function main(params: Params): Promise<{ records: number; settled: number }> {
  const records = readMessages(name, params);
  const runtime = runtimeOf(name, params);
  const settled = await runtime.settle(records, currentInvocation());
  const firstUnsettled = records[settled];
  if (firstUnsettled === undefined) return { records: records.length, settled };
  const all = counted(records.length, 'record');
  throw new TollwayError(
    'not_settled',
    `${name}: ${counted(records.length - settled, `of ${all} was`, `of ${all} were`)} not settled in time, from ${firstUnsettled.position} on. ` +
      `The feed does not deliver them again; a processor on this topic charges them${runtime.problem === null ? '' : ` (${runtime.problem})`}`,
  );
}

/** Reconciles the ledger on a schedule; with the parameter `deep`, row by row. */
export async function reconcile(params: Params): Promise<object> {
  // Read before the first await: concurrent activations share the environment.
  const invocation = currentInvocation();
  const { reportReconciliation } = await import('./report-reconciliation.ts');
  const deep = params.deep === true;
  return runtimeOf('openwhisk-reconcile', params, 0).run(invocation, (context, time) =>
    reportReconciliation(context, { ...time, deep }),
  );
}

/** Maintains the ledger on a schedule. */
export async function maintain(params: Params): Promise<object> {
  const invocation = currentInvocation();
  const { maintainLedger } = await import('../maintenance-loop.ts');
  return runtimeOf('openwhisk-maintain', params, 0).run(invocation, maintainLedger);
}

/** OpenWhisk passes settings as parameters of the action. They override the environment. */
function runtimeOf(functionName: string, params: Params, queryMsMax?: number): FunctionRuntime {
  const settings = Object.entries(params)
    .filter(([key, value]) => /^[A-Z][A-Z0-9_]*$/.test(key) && typeof value !== 'object')
    .map(([key, value]) => [key, String(value)]);
  const existing = runtimes.get(functionName);
  const serialized = JSON.stringify(settings);
  if (existing?.settings === serialized) return existing.runtime;
  // The package was updated while the action was warm, for example with a new password.
  void existing?.runtime.close();
  const runtime = new FunctionRuntime(
    functionName,
    { ...process.env, ...Object.fromEntries(settings) },
    queryMsMax,
  );
  runtimes.set(functionName, { runtime, settings: serialized });
  return runtime;
}

/** https://github.com/apache/openwhisk/blob/master/docs/actions.md#accessing-action-metadata-within-the-action-body */
function currentInvocation(): Invocation {
  const { __OW_ACTIVATION_ID: id = '', __OW_DEADLINE: deadline } = process.env;
  // The platform gives Unix ms; converts it to the monotonic clock.
  const deadlineAt = deadline ? performance.now() + Number(deadline) - Date.now() : null;
  return { id, deadlineAt };
}
