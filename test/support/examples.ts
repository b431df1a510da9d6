/**
 * How many examples of a property run. On the PostgreSQL that `npm ci` brings, all of them; on another one (`TEST_DATABASE_URL`), a tenth: a property is
 * about the code of this repository, and each of its statements runs there too.
 */
export function examples(count: number): number {
  return process.env.TEST_DATABASE_URL === undefined ? count : Math.ceil(count / 10);
}
