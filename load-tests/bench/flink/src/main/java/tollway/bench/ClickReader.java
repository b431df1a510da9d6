package tollway.bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.util.UUID;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;

/** Decodes click events, the JSON of docs/events.md. */
class ClickReader implements DeserializationSchema<Click> {
  private static final long serialVersionUID = 1;
  private transient ObjectReader reader;

  /** The fields of an event that the job uses. */
  @JsonIgnoreProperties(ignoreUnknown = true)
  static class Event {
    public String clickId;
    public int advertiserId;
    public int adId;
    public long priceMicros;
    public long clickedAt;
  }

  @Override
  public void open(InitializationContext context) {
    reader = new ObjectMapper().readerFor(Event.class);
  }

  @Override
  public Click deserialize(byte[] message) throws IOException {
    Event event = reader.readValue(message);
    UUID id = UUID.fromString(event.clickId);
    Click click = new Click();
    click.idHigh = id.getMostSignificantBits();
    click.idLow = id.getLeastSignificantBits();
    click.advertiserId = event.advertiserId;
    click.adId = event.adId;
    click.priceMicros = event.priceMicros;
    click.clickedAtMs = event.clickedAt;
    ReadCounter.count();
    return click;
  }

  @Override
  public boolean isEndOfStream(Click click) {
    return false;
  }

  @Override
  public TypeInformation<Click> getProducedType() {
    return TypeInformation.of(Click.class);
  }
}
