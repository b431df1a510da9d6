import { expect, it } from 'vitest';
import type { Stack } from '../../cli/start/stack.ts';
import { prepareFaultInjection } from '../../load-tests/load/fault-injection.ts';

const NEVER = new AbortController().signal;
const AT = { processorAtMs: 0, brokerAtMs: 1 };
const stack = (more: Partial<Stack>) => ({ broker: 'kafka', dataDir: '/nowhere', ...more }) as Stack;

it.each([
  ['no npm start on this machine', stack({}), /npm start/],
  ['no command that restarts Kafka', stack({ pid: process.pid }), /--restart-broker: .* kafka/],
  [
    'no command that restarts an external PostgreSQL',
    stack({ pid: process.pid, broker: 'postgres' }),
    /--restart-broker: .* DATABASE_URL/,
  ],
])('is refused before any fault is injected: %s', (_, where, error) => {
  expect(() => prepareFaultInjection(where, AT)).toThrow(error);
});

it('reports faults that failed', async () => {
  const inject = prepareFaultInjection(stack({ pid: process.pid }), { ...AT, restartBroker: 'exit 3' });
  expect(await inject(NEVER)).toMatchObject([
    { succeeded: false, description: 'no processor could be killed: no processor is running' },
    { succeeded: false, description: expect.stringMatching(/^the broker could not be restarted: .*exit 3/) },
  ]);
});

it('injects the second fault after the first one failed, and no fault once it is stopped', async () => {
  const inject = prepareFaultInjection(stack({ pid: process.pid }), { ...AT, restartBroker: 'true' });
  expect((await inject(NEVER))[1]).toMatchObject({
    succeeded: true,
    description: 'the broker was restarted',
  });
  expect(await inject(AbortSignal.abort())).toEqual([]);
});
