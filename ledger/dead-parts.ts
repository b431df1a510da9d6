import { answering } from './backlog-of-parts.ts';
import type { Part } from './parts.ts';

/** The parts that do not answer and were not replaced: each part of the component that began since then replaces one of them. */
export function deadParts(parts: readonly Part[]): Part[] {
  const components = [...new Set(parts.map(({ component }) => component))];
  return components.flatMap((component) => {
    const dead = parts
      .filter((part) => part.component === component && part.state === 'no_answer')
      .sort((a, b) => a.reportedAt.getTime() - b.reportedAt.getTime());
    const replacements = answering(parts, component).map(({ startedAt }) => startedAt);
    return dead.filter(({ reportedAt }) => {
      const at = replacements.findIndex((startedAt) => startedAt > reportedAt);
      if (at >= 0) replacements.splice(at, 1);
      return at < 0;
    });
  });
}
