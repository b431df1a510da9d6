package tollway.bench;

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Locale;
import org.apache.flink.api.common.JobStatus;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/**
 * Drains a topic of clicks into the tables flink_ledger and flink_advertiser of a PostgreSQL, in one JVM, with checkpoints every 5 s.
 *
 * <p>Arguments: the variant (stock or keyed), the JDBC URL, the brokers, the topic, its number of clicks, and a folder for checkpoints. Prints one line of JSON:
 * the seconds from the first click that was read until all rows and budgets were written, and the CPU time of the JVM in the same time.
 */
public final class DrainClicks {
  private static final int BATCH = 4_000;
  private static final int PARALLELISM = 2;
  private static final long CHECKPOINT_MS = 5_000;
  private static final long POLL_MS = 20;
  private static final long POLL_DATABASE_MS = 100;

  private DrainClicks() {}

  public static void main(String[] arguments) throws Exception {
    String variant = arguments[0];
    String url = arguments[1];
    long clicks = Long.parseLong(arguments[4]);
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.createLocalEnvironment(PARALLELISM, configuration(arguments[5]));
    environment.enableCheckpointing(CHECKPOINT_MS);
    DataStream<Click> source =
        environment.fromSource(source(arguments[2], arguments[3]), WatermarkStrategy.noWatermarks(), "clicks");
    if (variant.equals("stock")) StockSinks.add(source, url, BATCH);
    else source.keyBy(click -> click.advertiserId).sinkTo(new TransactionSink(url, BATCH));

    JobClient job = environment.executeAsync(variant);
    waitUntilCharged(job, url, clicks);
    System.out.printf(
        Locale.ROOT, "{\"seconds\":%.3f,\"cpuSeconds\":%.3f}%n", ReadCounter.seconds(), ReadCounter.cpuSeconds());
    job.cancel().get();
    System.exit(0);
  }

  private static Configuration configuration(String checkpoints) {
    Configuration configuration = new Configuration();
    configuration.set(PipelineOptions.OBJECT_REUSE, true);
    configuration.set(PipelineOptions.GENERIC_TYPES, false);
    configuration.set(StateBackendOptions.STATE_BACKEND, "hashmap");
    configuration.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
    configuration.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, "file://" + checkpoints);
    return configuration;
  }

  private static KafkaSource<Click> source(String brokers, String topic) {
    return KafkaSource.<Click>builder()
        .setBootstrapServers(brokers)
        .setTopics(topic)
        .setGroupId("flink-" + System.currentTimeMillis())
        .setStartingOffsets(OffsetsInitializer.earliest())
        .setValueOnlyDeserializer(new ClickReader())
        .setProperty("max.partition.fetch.bytes", "2097152")
        .build();
  }

  /** Asks the database only after all clicks were read, so as not to slow down the job. */
  private static void waitUntilCharged(JobClient job, String url, long clicks) throws Exception {
    while (ReadCounter.clicks() < clicks) {
      JobStatus status = job.getJobStatus().get();
      if (status.isTerminalState()) job.getJobExecutionResult().get();
      Thread.sleep(POLL_MS);
    }
    try (Connection connection = DriverManager.getConnection(url)) {
      while (!isCharged(connection, clicks)) Thread.sleep(POLL_DATABASE_MS);
    }
  }

  private static boolean isCharged(Connection connection, long clicks) throws SQLException {
    String query =
        "select count(*) = "
            + clicks
            + " and sum(charged_micros) = (select sum(budget_micros - remaining_micros) from flink_advertiser) from flink_ledger";
    try (Statement statement = connection.createStatement();
        ResultSet result = statement.executeQuery(query)) {
      return result.next() && result.getBoolean(1);
    }
  }
}
