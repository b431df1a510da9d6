import { command, group, withDatabase } from '../context.ts';
import { printJson, printLine } from '../print.ts';
import { addSamples } from '../samples.ts';

const add = command('add', 'Give an empty database three advertisers with an ad each, to click on', [
  'samples add',
]).action(async ({ json }: { json?: boolean }) => {
  await withDatabase(async (pool) => {
    const added = await addSamples(pool);
    if (json) return printJson({ added });
    printLine(
      added ? 'Added three advertisers with an ad each' : 'There are advertisers already: nothing added',
    );
  });
});

export const samples = group('samples', 'Something to click on', [add]);
