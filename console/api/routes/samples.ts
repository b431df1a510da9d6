import * as z from 'zod';
import { TollwayError } from '../../../common/errors.ts';
import type { Connection } from '../../../common/postgres/postgres.ts';
import { listActiveSampleAds } from '../../../ledger/accounts/sample-advertisers.ts';
import { SAMPLE_RATE_MAX, SAMPLE_SECONDS_MAX, type SampleWork } from '../../samples/sample-run.ts';
import { type SampleRun as Run, SampleRuns } from '../../samples/sample-runs.ts';
import type { App, Deps } from '../deps.ts';
import { change } from '../idempotency.ts';
import { Time } from '../schemas.ts';

const Count = z.int().min(0);
const Rate = z.int().min(1).max(SAMPLE_RATE_MAX);
const Seconds = z.int().min(1).max(SAMPLE_SECONDS_MAX);

const NewSampleRun = z
  .strictObject({
    ratePerSecond: Rate.default(20).meta({ description: 'Clicks per second.' }),
    seconds: Seconds.default(30),
    spike: z.boolean().default(false).meta({
      description:
        'The rate is that of the middle third of the run, and a tenth of it is sent before and after.',
    }),
  })
  .meta({ id: 'NewSampleRun' });

export const SampleRun = z
  .strictObject({
    state: z.enum(['none', 'running', 'finished', 'stopped', 'failed']).meta({
      description: '`none`: this console has had no run since it started.',
    }),
    runId: z.string().nullable(),
    ratePerSecond: Rate.nullable(),
    seconds: Seconds.nullable(),
    spike: z.boolean().nullable(),
    total: Count.meta({ description: 'Clicks that the run sends in all.' }),
    sent: Count,
    answered: Count.meta({ description: 'Recorded and redirected to the page of the ad.' }),
    unrecorded: Count.meta({
      description:
        'Redirected, but not recorded, for example because the spool is full: they are never charged.',
    }),
    failed: Count.meta({ description: 'Answered otherwise, or not at all.' }),
    bots: Count.meta({ description: 'Sent with the user agent of a bot, so that they are invalid.' }),
    startedAt: Time.nullable(),
    endsAt: Time.nullable().meta({ description: 'When the run ends, or has ended.' }),
    summary: z.string().meta({ description: 'One sentence on what the run has done.' }),
  })
  .meta({ id: 'SampleRun' });

const tags = ['Samples'];

/** Adds the routes that send sample clicks. Each console has its own run. */
export function sampleRoutes(app: App, deps: Deps): void {
  const runs = new SampleRuns();
  app.addHook('preClose', async () => void runs.stop());
  startRoute(app, deps, runs);
  app.get(
    '/v1/samples',
    {
      config: { access: 'samples.run' },
      schema: {
        ...{ tags, operationId: 'getSampleRun', summary: 'Get the latest run of sample clicks' },
        description: 'The run that goes on in this console, or the latest one.',
        response: { 200: SampleRun },
      },
    },
    async () => toSampleRun(runs.latest),
  );
  app.delete(
    '/v1/samples',
    {
      config: { access: 'samples.run' },
      schema: {
        ...{ tags, operationId: 'stopSampleRun', summary: 'Stop the run of sample clicks' },
        description: 'Clicks that were sent stay. Without a run it changes nothing.',
        response: { 200: SampleRun },
      },
    },
    async () => toSampleRun(runs.stop()),
  );
}

function startRoute(app: App, { pool, config }: Deps, runs: SampleRuns): void {
  const { LINK_KEYS: linkKeys = [], PUBLIC_URL: publicUrl } = config;
  app.post(
    '/v1/samples',
    {
      config: {
        access: 'samples.run',
        errors: ['no_samples', 'samples_running', 'samples_unknown', 'no_signing_key'],
      },
      schema: {
        ...{ tags, operationId: 'startSampleRun', summary: 'Send sample clicks' },
        description:
          'Sends clicks on the active ads of the sample advertisers to `PUBLIC_URL`, as visitors do: they are recorded, charged and reported as all others. Every 25th is that of a bot.',
        body: NewSampleRun,
        response: { 202: SampleRun },
      },
    },
    async (request, reply) => {
      let planned = null as { readonly run: Run; readonly work: SampleWork } | null;
      const plan = async (connection: Connection) => {
        runs.assertNoneRuns();
        const adIds = (await listActiveSampleAds(connection)).map(({ adId }) => adId);
        const work = { ...request.body, adIds, linkKeys, publicUrl };
        assertPossible(work);
        reply.code(202);
        planned = { run: runs.plan(request.body), work };
        return toSampleRun(planned.run);
      };
      try {
        const run = await change(pool, request, reply, plan, (earlier) => assertKnown(runs, earlier));
        // After the commit: a client whose request failed must not find that its clicks were sent.
        if (planned) runs.start(planned.run, planned.work);
        return run;
      } catch (error) {
        if (planned) runs.cancel(planned.run);
        throw error;
      }
    },
  );
}

/**
 * Refuses to repeat the answer about a run that this console does not know. Its commit may have got no answer, or the console may have ended
 * between the commit and the start: then it has sent no click.
 */
function assertKnown(runs: SampleRuns, earlier: string): void {
  const { runId } = JSON.parse(earlier) as { readonly runId: string };
  if (runs.isKnown(runId)) return;
  throw new TollwayError(
    'samples_unknown',
    `Expected a run of sample clicks that this console knows, got ${runId}: it may have sent its clicks or none. Use a new Idempotency-Key for a new run`,
  );
}

function assertPossible({ adIds, linkKeys }: SampleWork): void {
  if (adIds.length === 0)
    throw new TollwayError(
      'no_samples',
      'Expected an active ad of a sample advertiser, got none: npx tollway samples add adds them to an empty database',
    );
  if (!linkKeys.some(({ state }) => state === 'signs'))
    throw new TollwayError('no_signing_key', 'LINK_KEYS: expected a key that signs, got none');
}

function toSampleRun(run: Run | null): z.output<typeof SampleRun> {
  if (run !== null) {
    const { failure: _, ...shown } = run;
    return shown;
  }
  const counts = { total: 0, sent: 0, answered: 0, unrecorded: 0, failed: 0, bots: 0 };
  return {
    ...{ state: 'none' as const, runId: null, ratePerSecond: null, seconds: null, spike: null },
    ...{ ...counts, startedAt: null, endsAt: null, summary: 'No sample clicks were sent yet.' },
  };
}
