import type { Sample } from '../load/timeline.ts';

/** Highest resident memory of each process, in MB, and its growth in MB per hour after the first tenth of the run. */
export type MemoryReport = Readonly<
  Record<string, { readonly maxMb: number; readonly growthMbPerHour: number }>
>;

/** Summarizes the resident memory of each process. The growth is a least-squares slope; the first tenth, the warm-up, is left out. */
export function reportMemory(samples: readonly Sample[]): MemoryReport {
  const afterWarmUp = samples.slice(Math.ceil(samples.length / 10));
  const names = new Set(samples.flatMap(({ system }) => Object.keys(system.processes)));
  const report: Record<string, { maxMb: number; growthMbPerHour: number }> = {};
  for (const name of names) {
    const points = pointsOf(name, samples);
    if (points.length === 0) continue;
    report[name] = {
      maxMb: Math.max(...points.map(({ mb }) => mb)),
      growthMbPerHour: slopeOf(pointsOf(name, afterWarmUp)),
    };
  }
  return report;
}

/** Highest resident memory of any process of the stack, in MB; `null` if one of them did not report its memory. */
export function stackMemoryMaxMb({ 'ad server': adServer, processor }: MemoryReport): number | null {
  return adServer && processor ? Math.max(adServer.maxMb, processor.maxMb) : null;
}

type Point = { readonly hours: number; readonly mb: number };

function pointsOf(name: string, samples: readonly Sample[]): Point[] {
  return samples.flatMap(({ atSeconds, system }) => {
    const usage = system.processes[name as keyof typeof system.processes];
    return usage === null ? [] : [{ hours: atSeconds / 3_600, mb: usage.residentBytes / 1e6 }];
  });
}

function slopeOf(points: readonly Point[]): number {
  const mean = (pick: (point: Point) => number) =>
    points.reduce((sum, point) => sum + pick(point), 0) / Math.max(1, points.length);
  const [hours, mb] = [mean((point) => point.hours), mean((point) => point.mb)];
  let [covariance, variance] = [0, 0];
  for (const point of points) {
    covariance += (point.hours - hours) * (point.mb - mb);
    variance += (point.hours - hours) ** 2;
  }
  return variance === 0 ? 0 : covariance / variance;
}
