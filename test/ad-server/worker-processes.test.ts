import cluster, { type Worker as ClusterWorker } from 'node:cluster';
import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WorkerProcesses } from '../../ad-server/worker-processes.ts';
import { WorkerReports } from '../../ad-server/worker-reports.ts';
import { createMetrics } from '../../common/telemetry/metrics.ts';
import { capturedLog } from '../support/loggers.ts';

const COULD_NOT_START =
  'error A worker could not be started. The ad server tries again. Check memory and open files (ulimit -n)';

/** The list of node:cluster, which exists in a primary. */
const listed = cluster.workers as Record<string, ClusterWorker>;

/** As node:cluster gives it: with a process id if the process could be started. */
class FakeWorker extends EventEmitter {
  readonly id: number;
  readonly process: { pid: number | undefined; kill: () => unknown };

  constructor(id: number, pid: number | undefined) {
    super();
    this.id = id;
    const exit = () => process.nextTick(() => this.emit('exit', 0, null));
    this.process = { pid, kill: () => pid !== undefined && exit() };
    // It is in the list before Node reports that it could not be started.
    listed[id] = this as unknown as ClusterWorker;
  }
}

const spawnError = (code: string) => Object.assign(new Error(`spawn node ${code}`), { code });

/** Adds a worker to the list of node:cluster. Without a process id, its `error` event follows, as in node:child_process. */
function fork(id: number, error?: Error): ClusterWorker {
  const worker = new FakeWorker(id, error ? undefined : 10_000 + id);
  if (error) process.nextTick(() => worker.emit('error', error));
  return worker as unknown as ClusterWorker;
}

function startProcesses() {
  const { logger, lines } = capturedLog();
  const failures: unknown[] = [];
  const reports = new WorkerReports(1);
  return {
    reports,
    processes: new WorkerProcesses(reports, logger, (error) => failures.push(error)),
    failures,
    lines,
  };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout'] });
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
  for (const id of Object.keys(listed)) delete listed[id];
});

describe('a worker that cannot be started', () => {
  const thrown = (code: string): never => {
    throw spawnError(code);
  };

  it.each([
    ['emits EAGAIN', () => fork(1, spawnError('EAGAIN'))],
    ['emits EMFILE', () => fork(1, spawnError('EMFILE'))],
    ['emits ENFILE', () => fork(1, spawnError('ENFILE'))],
    // Node throws for lack of memory.
    ['throws ENOMEM', () => thrown('ENOMEM')],
  ])('is tried again if Node %s', async (_, failed) => {
    const forked = vi.spyOn(cluster, 'fork').mockImplementationOnce(failed);
    forked.mockImplementationOnce(() => fork(2));
    const { processes, failures, lines } = startProcesses();
    processes.start();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(failures).toEqual([]);
    expect(lines).toEqual([COULD_NOT_START]);
    expect(forked).toHaveBeenCalledTimes(2);
  });

  it('ends the ad server if the reason does not pass', async () => {
    vi.spyOn(cluster, 'fork').mockImplementationOnce(() => fork(1, spawnError('EACCES')));
    const { processes, failures } = startProcesses();
    processes.start();
    await vi.advanceTimersByTimeAsync(2_000);
    expect(failures).toEqual([spawnError('EACCES')]);
  });

  it('is not waited for at shutdown', async () => {
    const forked = vi.spyOn(cluster, 'fork').mockImplementationOnce(() => fork(1, spawnError('EMFILE')));
    forked.mockImplementationOnce(() => fork(2));
    const { processes, failures } = startProcesses();
    processes.start();
    await vi.advanceTimersByTimeAsync(2_000);
    await processes.close();
    expect(failures).toEqual([]);
    expect(forked).toHaveBeenCalledTimes(2);
  });
});

it.each(['EAGAIN', 'EPERM'])('an error %s of a worker that runs starts no other worker', async (code) => {
  const worker = fork(1);
  const forked = vi.spyOn(cluster, 'fork').mockImplementationOnce(() => worker);
  const { processes, failures, lines } = startProcesses();
  processes.start();
  // Each error: without a listener, the second one would end the ad server.
  for (const _ of [1, 2]) worker.emit('error', spawnError(code));
  await vi.advanceTimersByTimeAsync(2_000);
  expect([failures, lines]).toEqual([[], []]);
  expect(forked).toHaveBeenCalledTimes(1);
});

it('a report that arrives after the exit of its worker is ignored: what it counted is kept already', async () => {
  const worker = fork(1);
  vi.spyOn(cluster, 'fork').mockImplementationOnce(() => worker);
  vi.mocked(cluster.fork).mockImplementationOnce(() => fork(2));
  const { processes, reports } = startProcesses();
  processes.start();
  const metrics = createMetrics('ad server');
  metrics.clicksUnrecorded.inc(25);
  const report = { problems: [], warnings: [], metrics: await metrics.registry.getMetricsAsJSON() };
  worker.emit('message', report);
  worker.emit('exit', 1, null);
  worker.emit('message', report);
  expect(await reports.metrics()).toContain('tollway_clicks_unrecorded_total 25');
});
