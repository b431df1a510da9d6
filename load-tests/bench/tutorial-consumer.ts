/**
 * The reference of `drain-kafka`: a typical tutorial consumer with `eachMessage`, and a transaction with an insert and an update for each click.
 * Sends the measured clicks per second to its parent process and exits.
 */
import { Kafka, logLevel } from 'kafkajs';
import pg from 'pg';

const {
  KAFKA_BROKERS = '',
  KAFKA_TOPIC = '',
  KAFKA_GROUP = '',
  DATABASE_URL,
  ADVERTISERS,
  MEASURE_MS,
} = process.env;

const pool = new pg.Pool({ connectionString: DATABASE_URL, max: 10 });
await pool.query('create table if not exists tutorial_account (id int primary key, balance bigint not null)');
await pool.query(
  'create table if not exists tutorial_click (id uuid primary key, account_id int, price bigint)',
);
await pool.query('truncate tutorial_click');
await pool.query(
  'insert into tutorial_account select id, 1000000000000 from generate_series(1, $1::int) id on conflict do nothing',
  [ADVERTISERS],
);

let charged = 0;
let startedAt = 0;
const consumer = new Kafka({
  brokers: KAFKA_BROKERS.split(','),
  logLevel: logLevel.NOTHING,
}).consumer({ groupId: KAFKA_GROUP });
await consumer.connect();
await consumer.subscribe({ topics: [KAFKA_TOPIC], fromBeginning: true });
await consumer.run({
  eachMessage: async ({ message }) => {
    const { clickId, advertiserId, priceMicros } = JSON.parse(String(message.value));
    const connection = await pool.connect();
    try {
      await connection.query('begin');
      await connection.query('insert into tutorial_click values ($1, $2, $3)', [
        clickId,
        advertiserId,
        priceMicros,
      ]);
      await connection.query('update tutorial_account set balance = balance - $1 where id = $2', [
        priceMicros,
        advertiserId,
      ]);
      await connection.query('commit');
    } finally {
      connection.release();
    }
    if (startedAt === 0) startedAt = performance.now();
    else charged += 1;
    const ms = performance.now() - startedAt;
    if (ms < Number(MEASURE_MS)) return;
    process.send?.((charged / ms) * 1_000, () => process.exit(0));
    await new Promise(() => {});
  },
});
