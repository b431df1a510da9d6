package tollway.bench;

import java.io.IOException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.util.Arrays;
import java.util.UUID;
import org.apache.flink.api.common.operators.ProcessingTimeService;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;

/**
 * One transaction for each batch: it locks the advertisers in the order of their ids, inserts the rows, and subtracts what it has really inserted. A
 * batch that is repeated after a failure inserts nothing, so it subtracts nothing: each click is charged once. Batches also end before each
 * checkpoint and after 200 ms. Behind keyBy(advertiser) the writers do not wait for each other's locks.
 */
class TransactionSink implements Sink<Click> {
  private static final long serialVersionUID = 1;
  private static final long INTERVAL_MS = 200;
  private static final String LOCK =
      "select count(*) from (select id from flink_advertiser where id = any(?) order by id for update) locked";
  private static final String CHARGE =
      """
      with inserted as (
        insert into flink_ledger (click_id, advertiser_id, ad_id, charged_micros, clicked_at)
        select id, advertiser, ad, micros, timestamptz 'epoch' + ms * interval '1 ms'
        from unnest(?::uuid[], ?::int[], ?::int[], ?::bigint[], ?::bigint[]) click (id, advertiser, ad, micros, ms)
        on conflict do nothing returning advertiser_id, charged_micros),
      total as (select advertiser_id, sum(charged_micros)::bigint as micros from inserted group by advertiser_id)
      update flink_advertiser set remaining_micros = remaining_micros - total.micros from total where id = total.advertiser_id
      """;

  private final String url;
  private final int batch;

  TransactionSink(String url, int batch) {
    this.url = url;
    this.batch = batch;
  }

  @Override
  public SinkWriter<Click> createWriter(WriterInitContext context) throws IOException {
    try {
      return new Writer(context.getProcessingTimeService());
    } catch (SQLException error) {
      throw new IOException(error);
    }
  }

  private class Writer implements SinkWriter<Click> {
    private final Connection connection = DriverManager.getConnection(url);
    private final PreparedStatement lock;
    private final PreparedStatement charge;
    private final Click[] clicks = new Click[batch];
    private int count;

    Writer(ProcessingTimeService time) throws SQLException {
      connection.setAutoCommit(false);
      lock = connection.prepareStatement(LOCK);
      charge = connection.prepareStatement(CHARGE);
      chargeRegularly(time);
    }

    private void chargeRegularly(ProcessingTimeService time) {
      time.registerTimer(
          time.getCurrentProcessingTime() + INTERVAL_MS,
          now -> {
            chargeBatch();
            chargeRegularly(time);
          });
    }

    @Override
    public void write(Click click, Context context) throws IOException {
      clicks[count++] = click;
      if (count == batch) chargeBatch();
    }

    @Override
    public void flush(boolean endOfInput) throws IOException {
      chargeBatch();
    }

    private void chargeBatch() throws IOException {
      if (count == 0) return;
      try {
        bind();
        lock.executeQuery().close();
        charge.executeUpdate();
        connection.commit();
        count = 0;
      } catch (SQLException error) {
        // Flink restarts the job from its last checkpoint.
        throw new IOException(error);
      }
    }

    private void bind() throws SQLException {
      UUID[] ids = new UUID[count];
      Integer[] advertisers = new Integer[count];
      Integer[] ads = new Integer[count];
      Long[] micros = new Long[count];
      Long[] times = new Long[count];
      for (int i = 0; i < count; i++) {
        Click click = clicks[i];
        ids[i] = click.id();
        advertisers[i] = click.advertiserId;
        ads[i] = click.adId;
        micros[i] = click.priceMicros;
        times[i] = click.clickedAtMs;
      }
      lock.setArray(1, connection.createArrayOf("int4", Arrays.stream(advertisers).distinct().toArray()));
      charge.setArray(1, connection.createArrayOf("uuid", ids));
      charge.setArray(2, connection.createArrayOf("int4", advertisers));
      charge.setArray(3, connection.createArrayOf("int4", ads));
      charge.setArray(4, connection.createArrayOf("int8", micros));
      charge.setArray(5, connection.createArrayOf("int8", times));
    }

    @Override
    public void close() throws SQLException {
      connection.close();
    }
  }
}
