import * as z from 'zod';
import { PART_STATES } from '../../../ledger/operations/parts.ts';
import { Time } from '../schemas.ts';

const Count = z.number().min(0);
const Bytes = z.number().min(0);
const Seconds = z.number().min(0);
const Rate = z.number().min(0);
/** Parts of other versions do not report every number. */
const KnownCount = Count.nullable();
const KnownSeconds = Seconds.nullable();
const KnownRate = Rate.nullable();

const part = {
  instance: z.string().meta({
    description: 'Host name and operations port. A restarted process has the same.',
    examples: ['web-1:8081'],
  }),
  version: z.string().meta({ examples: ['0.1.0'] }),
  startedAt: Time,
  reportedAt: Time.meta({ description: 'When it reported last. It does so every 2 s.' }),
  state: z.enum(PART_STATES).meta({
    description:
      '`warning`: ready, with `warnings`. `no_answer`: it has not reported for 10 s. `unknown`: the same, but the database took no reports in that time, so the part may run. The other fields are as of `reportedAt` then.',
  }),
  problems: z.array(z.string()).meta({ description: 'Why it is not ready.' }),
  warnings: z.array(z.string()).meta({ description: 'Problems that do not affect readiness.' }),
};

const AdServerPart = z
  .strictObject({
    component: z.literal('ad-server'),
    ...part,
    numbers: z.strictObject({
      workers: KnownCount,
      accepted: KnownCount.meta({ description: 'Clicks written to the spool since it started.' }),
      relayed: KnownCount.meta({ description: 'Clicks that the broker has confirmed since it started.' }),
      unrecorded: KnownCount.meta({ description: 'Clicks that could not be recorded since it started.' }),
      unrecordedRecently: KnownCount.meta({ description: 'The same of the last ten minutes.' }),
      linksAnsweredRecently: KnownCount.meta({
        description: 'Requests with a valid link in the last ten minutes.',
      }),
      linksRefusedRecently: KnownCount.meta({
        description: 'Those of them that got an error instead of a redirect.',
      }),
      requestsRecently: KnownCount.meta({
        description: 'All requests on the public port in the last ten minutes.',
      }),
      linksNotFoundRecently: KnownCount.meta({ description: 'Those of them that name no valid link.' }),
      redirectsPerSecond: KnownRate.meta({ description: 'Answers on the public port, of the last 10 s.' }),
      redirectP99Seconds: KnownSeconds,
      spoolBytes: Bytes.nullable(),
      spoolBytesMax: Bytes.nullable(),
      spoolOldestSeconds: KnownSeconds.meta({
        description: 'Age of the oldest click that is not published.',
      }),
      catalogAgeSeconds: KnownSeconds,
      catalogAds: KnownCount,
      clockOffsetSeconds: z.number().nullable().meta({
        description: 'The clock of its host minus that of the database server; null before it is known.',
      }),
    }),
  })
  .meta({ id: 'AdServerPart' });

const ProcessorPart = z
  .strictObject({
    component: z.literal('processor'),
    ...part,
    numbers: z.strictObject({
      lanes: KnownCount,
      charged: KnownCount.meta({ description: 'Clicks settled since it started, by outcome.' }),
      overBudget: KnownCount,
      invalid: KnownCount,
      rejected: KnownCount,
      duplicates: KnownCount,
      settledPerSecond: KnownRate.meta({ description: 'Of the last 10 s, as the quantiles.' }),
      clickToChargeP50Seconds: KnownSeconds,
      clickToChargeP99Seconds: KnownSeconds,
      clicksAside: KnownCount.meta({ description: 'Clicks that wait for locked advertisers.' }),
      lagRecords: KnownCount.meta({ description: 'Records that wait in the broker, as it finds them.' }),
      lagOldestSeconds: KnownSeconds,
      isBlocked: z.boolean().meta({ description: 'Whether it cannot settle all clicks.' }),
    }),
  })
  .meta({ id: 'ProcessorPart' });

const ConsolePart = z
  .strictObject({
    component: z.literal('console'),
    ...part,
    numbers: z.strictObject({
      requestsPerSecond: KnownRate.meta({ description: 'Of the last 10 s, as the quantile.' }),
      requestP99Seconds: KnownSeconds,
      webhooksWaiting: KnownCount,
      webhooksOldestSeconds: KnownSeconds,
    }),
  })
  .meta({ id: 'ConsolePart' });

const Backlog = z
  .strictObject({
    records: KnownCount.meta({
      description:
        'Records that wait in the broker; with Kinesis, that are read and not settled. `null`: no processor answers, or the broker does not answer it.',
    }),
    oldestAgeSeconds: KnownSeconds.meta({
      description: 'Age of the oldest click that waits; with Kafka, at least the time without progress.',
    }),
    partitions: z
      .array(
        z.strictObject({
          broker: z.string().meta({ examples: ['kafka'] }),
          name: z.string().meta({ examples: ['0'] }),
          records: Count,
          oldestAgeSeconds: Seconds,
          position: z.string().nullable().meta({ description: 'Where the next reader begins.' }),
          readers: z.array(z.string()).meta({ description: 'The processors that read it, by `instance`.' }),
        }),
      )
      .meta({
        description:
          'The partitions or shards, at most 256 of each processor. The Postgres broker has one, its table.',
      }),
  })
  .meta({ id: 'BrokerBacklog' });

const SpoolState = z
  .strictObject({
    instance: z.string(),
    bytes: Bytes.nullable(),
    bytesMax: Bytes.nullable(),
    oldestAgeSeconds: KnownSeconds,
    accepted: KnownCount,
    relayed: KnownCount,
    unrecorded: KnownCount,
    asOf: Time.meta({ description: 'When the ad server reported.' }),
    isAnswering: z.boolean(),
  })
  .meta({ id: 'SpoolState', description: 'The spools of one ad server, all workers together.' });

export const CurrentProblem = z
  .strictObject({
    code: z
      .string()
      .meta({ description: 'The name of the alert, where there is one.', examples: ['TollwayPartDown'] }),
    severity: z.enum(['page', 'ticket']).meta({
      description: '`page`: clicks or money are at stake now. `ticket`: it can wait for the morning.',
    }),
    summary: z.string(),
    since: Time.nullable(),
    runbook: z.string().meta({ description: 'The section of the runbook.', examples: ['#tollwaypartdown'] }),
  })
  .meta({ id: 'CurrentProblem' });

export const Operations = z
  .strictObject({
    asOf: Time,
    version: z.string().meta({ description: 'The version of this console.', examples: ['0.1.0'] }),
    parts: z.array(z.discriminatedUnion('component', [AdServerPart, ProcessorPart, ConsolePart])).meta({
      description: 'The running processes, and those that died within a day. Functions do not report.',
    }),
    problems: z.array(CurrentProblem).meta({ description: 'What is wrong now, pages first.' }),
    backlog: Backlog,
    spools: z.array(SpoolState),
    maintenance: z.strictObject({
      lastAt: Time.nullable(),
      partitionsAheadDays: z.number().meta({ description: 'Days after today that have a partition.' }),
      oldestDay: z.iso.date().meta({ description: 'Of the days before, the ledger keeps sums alone.' }),
    }),
    reports: z.strictObject({
      asOf: Time.meta({ description: 'All clicks that were settled before are in the reports.' }),
    }),
    webhooks: z.strictObject({
      waiting: Count.meta({ description: 'Events that wait for active webhooks.' }),
      oldestAgeSeconds: Seconds,
      failing: Count.meta({ description: 'Active webhooks whose latest attempt failed.' }),
    }),
    deadLetters: Count,
    settings: z
      .array(
        z.strictObject({
          name: z.string().meta({ examples: ['BATCH_SIZE'] }),
          value: z
            .string()
            .nullable()
            .meta({
              description: '`null`: not set. Of a secret only that it is `set`.',
              examples: ['8000'],
            }),
          isDefault: z.boolean(),
        }),
      )
      .meta({ description: 'The settings of this console. Those of other parts can differ.' }),
  })
  .meta({ id: 'Operations', description: 'What an operator watches.' });
