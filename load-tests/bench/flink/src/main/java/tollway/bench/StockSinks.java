package tollway.bench;

import java.sql.Timestamp;
import java.time.Duration;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.connector.jdbc.JdbcConnectionOptions;
import org.apache.flink.connector.jdbc.JdbcExecutionOptions;
import org.apache.flink.connector.jdbc.core.datastream.sink.JdbcSink;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingProcessingTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/**
 * The job as the documentation suggests it: copies are dropped by keyed state, a JdbcSink inserts the rows, and another one subtracts sums of a second
 * from the budgets. Rows and budgets are written apart, at least once: after a failure, budgets are charged again for what is repeated.
 */
final class StockSinks {
  private static final long INTERVAL_MS = 200;

  private StockSinks() {}

  static void add(DataStream<Click> clicks, String url, int batch) {
    JdbcConnectionOptions connection =
        new JdbcConnectionOptions.JdbcConnectionOptionsBuilder().withUrl(url).withDriverName("org.postgresql.Driver").build();
    JdbcExecutionOptions execution =
        JdbcExecutionOptions.builder().withBatchSize(batch).withBatchIntervalMs(INTERVAL_MS).withMaxRetries(3).build();
    DataStream<Click> once =
        clicks
            .keyBy(click -> Tuple2.of(click.idHigh, click.idLow), Types.TUPLE(Types.LONG, Types.LONG))
            .process(new FirstOnly())
            .returns(Click.class);
    once.sinkTo(
        JdbcSink.<Click>builder()
            .withExecutionOptions(execution)
            .withQueryStatement(
                "insert into flink_ledger (click_id, advertiser_id, ad_id, charged_micros, clicked_at) values (?, ?, ?, ?, ?) on conflict do nothing",
                (statement, click) -> {
                  statement.setObject(1, click.id());
                  statement.setInt(2, click.advertiserId);
                  statement.setInt(3, click.adId);
                  statement.setLong(4, click.priceMicros);
                  statement.setTimestamp(5, new Timestamp(click.clickedAtMs));
                })
            .buildAtLeastOnce(connection));
    once.keyBy(click -> click.advertiserId)
        .window(TumblingProcessingTimeWindows.of(Duration.ofSeconds(1)))
        .aggregate(new SumOfPrices(), new WithAdvertiser(), Types.LONG, Types.LONG, Types.TUPLE(Types.INT, Types.LONG))
        .sinkTo(
            JdbcSink.<Tuple2<Integer, Long>>builder()
                .withExecutionOptions(execution)
                .withQueryStatement(
                    "update flink_advertiser set remaining_micros = remaining_micros - ? where id = ?",
                    (statement, sum) -> {
                      statement.setLong(1, sum.f1);
                      statement.setInt(2, sum.f0);
                    })
                .buildAtLeastOnce(connection));
  }

  private static class FirstOnly extends KeyedProcessFunction<Tuple2<Long, Long>, Click, Click> {
    private static final long serialVersionUID = 1;
    private transient ValueState<Boolean> seen;

    @Override
    public void open(OpenContext context) {
      seen = getRuntimeContext().getState(new ValueStateDescriptor<>("seen", Types.BOOLEAN));
    }

    @Override
    public void processElement(Click click, Context context, Collector<Click> out) throws Exception {
      if (seen.value() != null) return;
      seen.update(true);
      out.collect(click);
    }
  }

  private static class SumOfPrices implements AggregateFunction<Click, Long, Long> {
    private static final long serialVersionUID = 1;

    @Override
    public Long createAccumulator() {
      return 0L;
    }

    @Override
    public Long add(Click click, Long sum) {
      return sum + click.priceMicros;
    }

    @Override
    public Long getResult(Long sum) {
      return sum;
    }

    @Override
    public Long merge(Long one, Long other) {
      return one + other;
    }
  }

  private static class WithAdvertiser extends ProcessWindowFunction<Long, Tuple2<Integer, Long>, Integer, TimeWindow> {
    private static final long serialVersionUID = 1;

    @Override
    public void process(Integer advertiser, Context context, Iterable<Long> sums, Collector<Tuple2<Integer, Long>> out) {
      out.collect(Tuple2.of(advertiser, sums.iterator().next()));
    }
  }
}
