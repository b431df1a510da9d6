import { answeringParts, isAnswering, type Part } from './parts.ts';

/** The parts that do not answer and were not replaced. */
export function deadParts(parts: readonly Part[]): Part[] {
  return missingParts(parts).filter(({ state }) => state === 'no_answer');
}

/** The parts of which it is not known whether they run, and that were not replaced. */
export function unknownParts(parts: readonly Part[]): Part[] {
  return missingParts(parts).filter(({ state }) => state === 'unknown');
}

/** The parts that do not report and were not replaced: each part of the component that began since then replaces one of them. */
function missingParts(parts: readonly Part[]): Part[] {
  const components = [...new Set(parts.map(({ component }) => component))];
  return components.flatMap((component) => {
    const missing = parts
      .filter((part) => part.component === component && !isAnswering(part))
      .sort((a, b) => a.reportedAt.getTime() - b.reportedAt.getTime());
    const replacements = answeringParts(parts, component).map(({ startedAt }) => startedAt);
    return missing.filter(({ reportedAt }) => {
      const at = replacements.findIndex((startedAt) => startedAt > reportedAt);
      if (at >= 0) replacements.splice(at, 1);
      return at < 0;
    });
  });
}
