import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, describe, expect, it } from 'vitest';
import { cpuBetween, sampleCpu } from '../../load-tests/bench/cpu-samples.ts';
import {
  findDescendant,
  processMicros,
  readProcesses,
  treeMicros,
} from '../../load-tests/bench/process-cpu.ts';
import { ResourceScope } from '../../load-tests/bench/resource-scope.ts';

const hasProc = process.platform === 'linux';

describe('samples of CPU times', () => {
  const samples = [
    { atMs: 1_000, micros: { a: 100, b: 0 } },
    { atMs: 2_000, micros: { a: 300, b: 0 } },
    { atMs: 3_000, micros: { a: 700, b: 50 } },
  ];

  it('are interpolated at both ends', () => {
    expect(cpuBetween(samples, 1_500, 2_500)).toEqual({ a: 300, b: 25 });
    expect(cpuBetween(samples, 1_250, 1_750)).toEqual({ a: 100, b: 0 });
  });

  it('must cover the time', () => {
    expect(() => cpuBetween(samples, 500, 2_500)).toThrow('before and after');
    expect(() => cpuBetween(samples, 1_500, 3_500)).toThrow('before and after');
  });

  it('must have the process in each', () => {
    const ended = [...samples, { atMs: 4_000, micros: { a: Number.NaN, b: 60 } }];
    expect(() => cpuBetween(ended, 1_500, 3_500)).toThrow('Expected the CPU time of a, got none');
  });

  it.runIf(hasProc)('are taken from the start to the stop', async () => {
    const sampler = sampleCpu((processes) => ({ own: treeMicros(processes, process.pid) }));
    const samples = sampler.stop();
    expect(samples).toHaveLength(2);
    expect(samples[1]?.micros.own).toBeGreaterThan(0);
  });
});

describe.runIf(hasProc)('the CPU time of processes', () => {
  const resources = new ResourceScope();
  afterAll(() => resources.close());
  /** Uses about 200 ms of CPU time. */
  const BUSY = 'for (const end = process.cpuUsage().user + 2e5; process.cpuUsage().user < end; );';
  /** A process that starts the busy one, waits for its end, and then says so. */
  const PARENT = `require('node:child_process').spawnSync(process.execPath, ['-e', ${JSON.stringify(BUSY)}]);
    process.send('ended'); setInterval(() => {}, 1_000);`;

  it('includes children that have ended', async () => {
    const child = resources.child([process.execPath, '-e', PARENT, 'parent-of-busy']);
    await once(child, 'message');
    const processes = readProcesses();
    const pid = child.pid ?? 0;
    expect(findDescendant(processes, process.pid, 'parent-of-busy')).toBe(pid);
    expect(treeMicros(processes, pid)).toBeGreaterThan(processMicros(pid) + 150_000);
  });

  it('of a process that does not run is not a number', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await once(child, 'exit');
    expect(treeMicros(readProcesses(), child.pid ?? 0)).toBeNaN();
    expect(processMicros(child.pid ?? 0)).toBeNaN();
    expect(findDescendant(readProcesses(), process.pid, 'no such process')).toBeNull();
  });
});
