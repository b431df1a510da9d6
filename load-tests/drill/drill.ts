import type { KafkaServer } from '../../emulators/kafka/server.ts';
import type { DrillStack } from './drill-stack.ts';
import type { Prometheus } from './prometheus.ts';
import type { Replacement } from './shorten-rules.ts';

/** The running system that drills disturb. */
export type World = DrillStack & {
  readonly prometheus: Prometheus;
  /** Starts a Kafka for one drill, which stops it. Throws what to install if Kafka is missing. */
  readonly startKafka: () => Promise<KafkaServer>;
};

/** Ends what a drill caused. */
export type Undo = () => Promise<void> | void;

/** One cause, and the alerts that it must raise. They end after `Undo`. */
export type Drill = {
  /** The cause in a few words, for the table. */
  readonly cause: string;
  /** The alerts, and what replaces parts of their expressions, such as an age that would take minutes. */
  readonly alerts: Readonly<Record<string, readonly Replacement[]>>;
  /** Whether it disturbs nothing that another drill needs. Such drills run at the same time. */
  readonly isGentle: boolean;
  readonly begin: (world: World) => Promise<Undo>;
};
