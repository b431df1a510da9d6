package tollway.bench;

import java.util.UUID;

/** A click in the form that Flink serializes fastest: a POJO of primitive fields. The click id is two longs. */
public class Click {
  public long idHigh;
  public long idLow;
  public int advertiserId;
  public int adId;
  public long priceMicros;
  /** Time of the click in ms since 1970. */
  public long clickedAtMs;

  public UUID id() {
    return new UUID(idHigh, idLow);
  }
}
