import { command, group, type Output, withChange } from '../context.ts';
import { printJson, printLine } from '../print.ts';
import { addSamples } from '../samples.ts';

const add = command('add', 'Add three advertisers with an ad each to an empty database', [
  'samples add',
]).action(async ({ format }: Output) => {
  const added = await withChange((connection) => addSamples(connection));
  if (format === 'json') return printJson({ added });
  printLine(
    added
      ? 'Added three advertisers with an ad each'
      : 'The database has advertisers already: nothing was added',
  );
});

export const samples = group('samples', 'Add sample ads', [add]);
