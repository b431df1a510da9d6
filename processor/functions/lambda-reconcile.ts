import type { Context } from 'aws-lambda';
import { FunctionHome } from '../function-home.ts';
import type { BooksReport } from '../report-books.ts';

const home = new FunctionHome('lambda-reconcile', process.env, 0);

/** Asks the books, by a schedule: the answer's `problems`, and three metrics, say whether they need a person. */
export async function handler(_event: unknown, context: Context): Promise<BooksReport> {
  const { reportBooks } = await import('../report-books.ts');
  const deadlineAt = Date.now() + context.getRemainingTimeInMillis();
  return home.during({ id: context.awsRequestId, deadlineAt }, reportBooks);
}
