import { type ProcessTable, readProcesses } from './process-cpu.ts';

const SAMPLE_MS = 500;

/** CPU time by name, in µs. */
export type CpuMicros = Readonly<Record<string, number>>;

/** A sample of CPU times since the starts of the processes. `atMs` is on the system clock. */
export type CpuSample = { readonly atMs: number; readonly micros: CpuMicros };

/** Samples CPU times twice a second, until `stop`. `read` returns them by name. */
export function sampleCpu(read: (processes: ProcessTable) => CpuMicros): {
  readonly stop: () => readonly CpuSample[];
} {
  const samples: CpuSample[] = [];
  const sample = () => samples.push({ atMs: Date.now(), micros: read(readProcesses()) });
  sample();
  const timer = setInterval(sample, SAMPLE_MS);
  return {
    stop: () => {
      clearInterval(timer);
      sample();
      return samples;
    },
  };
}

/**
 * The CPU time that each name has used between two times of the system clock, in µs: samples beside these times are interpolated, because the
 * load is constant. Throws if the samples do not cover the times, or if a process was missing in one of them.
 */
export function cpuBetween(samples: readonly CpuSample[], fromMs: number, toMs: number): CpuMicros {
  const [from, to] = [interpolate(samples, fromMs), interpolate(samples, toMs)];
  return Object.fromEntries(
    Object.entries(to).map(([name, micros]) => {
      const used = micros - (from[name] ?? Number.NaN);
      if (!Number.isFinite(used)) throw new Error(`Expected the CPU time of ${name}, got none: it has ended`);
      return [name, used];
    }),
  );
}

function interpolate(samples: readonly CpuSample[], atMs: number): CpuMicros {
  const index = samples.findIndex((sample) => sample.atMs >= atMs);
  const [before, after] = [samples[index - 1], samples[index]];
  if (before === undefined || after === undefined)
    throw new Error(`Expected samples of CPU times before and after ${new Date(atMs).toISOString()}`);
  const share = (atMs - before.atMs) / (after.atMs - before.atMs);
  return Object.fromEntries(
    Object.entries(after.micros).map(([name, micros]) => {
      const start = before.micros[name] ?? Number.NaN;
      return [name, start + (micros - start) * share];
    }),
  );
}
