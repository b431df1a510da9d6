import { expect, it } from 'vitest';
import type { Stack } from '../../cli/start/stack.ts';
import { prepareFaultInjection } from '../../load-tests/load/fault-injection.ts';

const NEVER = new AbortController().signal;
const AT = { processorAtMs: 0, brokerAtMs: 1 };
const stack = (more: Partial<Stack>) => ({ broker: 'kafka', dataDir: '/nowhere', ...more }) as Stack;

it.each([
  ['no npm start on this machine', stack({}), /npm start/],
  ['nobody who restarts Kafka', stack({ pid: process.pid }), /--restart-broker: .* kafka/],
  [
    'nobody who restarts a PostgreSQL elsewhere',
    stack({ pid: process.pid, broker: 'postgres' }),
    /--restart-broker: .* DATABASE_URL/,
  ],
])('is refused before anything is done: %s', (_, where, why) => {
  expect(() => prepareFaultInjection(where, AT)).toThrow(why);
});

it('notes what could not be done', async () => {
  const inject = prepareFaultInjection(stack({ pid: process.pid }), { ...AT, restartBroker: 'exit 3' });
  expect(await inject(NEVER)).toMatchObject([
    { isDone: false, what: 'no processor could be killed: none is running' },
    { isDone: false, what: expect.stringMatching(/^the broker could not be restarted: .*exit 3/) },
  ]);
});

it('does what it can, and nothing once it is stopped', async () => {
  const inject = prepareFaultInjection(stack({ pid: process.pid }), { ...AT, restartBroker: 'true' });
  expect((await inject(NEVER))[1]).toMatchObject({ isDone: true, what: 'the broker was restarted' });
  expect(await inject(AbortSignal.abort())).toEqual([]);
});
