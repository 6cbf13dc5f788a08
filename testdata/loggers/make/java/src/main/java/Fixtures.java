import ch.qos.logback.classic.LoggerContext;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.classic.spi.LoggingEvent;
import ch.qos.logback.core.encoder.Encoder;
import co.elastic.logging.logback.EcsEncoder;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import net.logstash.logback.encoder.LogstashEncoder;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.Layout;
import org.apache.logging.log4j.core.config.DefaultConfiguration;
import org.apache.logging.log4j.core.impl.Log4jLogEvent;
import org.apache.logging.log4j.core.layout.JsonLayout;
import org.apache.logging.log4j.core.lookup.Interpolator;
import org.apache.logging.log4j.core.time.MutableInstant;
import org.apache.logging.log4j.layout.template.json.JsonTemplateLayout;
import org.apache.logging.log4j.message.SimpleMessage;
import org.apache.logging.log4j.util.SortedArrayStringMap;

/** Writes what layouts of log4j and encoders of logback produce to files in the directory given as the argument. */
public class Fixtures {
  record Line(String level, String message, boolean failed) {}

  static final List<Line> LINES = List.of(
      new Line("TRACE", "entering handler", false),
      new Line("DEBUG", "cache miss", false),
      new Line("INFO", "commande passée à « Zoé » — 注文 ✓ 🚀", false),
      new Line("INFO", "payload was {\"level\":\"error\",\"message\":\"inner\"}", false),
      new Line("WARN", "slow request", false),
      new Line("ERROR", "payment failed", true),
      new Line("ERROR", "said \"no\"\nthen C:\\temp\\x and </script> & 'rest'\u2028end", false),
      new Line("ERROR", "\u001b[31mred\u001b[0m alert\ttab \u0001 \u007f", false));

  /** The time of the line i. */
  static Instant time(int i) {
    return Instant.parse("2026-11-22T15:24:00.123456789Z").plusSeconds(i);
  }

  static Exception failure() {
    Exception e = new IllegalStateException("card declined: \"insufficient funds\"");
    e.setStackTrace(new StackTraceElement[] {new StackTraceElement("shop.Charge", "charge", "Charge.java", 12)});
    return e;
  }

  static byte[] log4j(Layout<?> layout) throws IOException {
    var out = new ByteArrayOutputStream();
    for (int i = 0; i < LINES.size(); i++) {
      var instant = new MutableInstant();
      instant.initFromEpochSecond(time(i).getEpochSecond(), time(i).getNano());
      var context = new SortedArrayStringMap();
      context.putValue("user", "Zoé");
      var line = LINES.get(i);
      out.write(layout.toByteArray(Log4jLogEvent.newBuilder()
          .setLoggerName("shop.Checkout").setThreadName("main").setThreadId(1).setThreadPriority(5)
          .setLevel(line.level().equals("ERROR") && i == LINES.size() - 1 ? Level.FATAL : Level.valueOf(line.level()))
          .setMessage(new SimpleMessage(line.message())).setThrown(line.failed() ? failure() : null)
          .setInstant(instant).setContextData(context).build()));
    }
    return out.toByteArray();
  }

  static byte[] template(String name) throws IOException {
    var configuration = new DefaultConfiguration();
    configuration.getStrSubstitutor().setVariableResolver(new Interpolator(Map.of("hostName", "web-1")));
    return log4j(JsonTemplateLayout.newBuilder().setConfiguration(configuration)
        .setEventTemplateUri("classpath:" + name).setLocationInfoEnabled(false).setStackTraceEnabled(true).build());
  }

  static byte[] logback(Encoder<ILoggingEvent> encoder) throws IOException {
    var context = new LoggerContext();
    encoder.setContext(context);
    encoder.start();
    var out = new ByteArrayOutputStream();
    for (int i = 0; i < LINES.size(); i++) {
      var line = LINES.get(i);
      var event = new LoggingEvent("Fixtures", context.getLogger("shop.Checkout"),
          ch.qos.logback.classic.Level.valueOf(line.level()), line.message(), line.failed() ? failure() : null, null);
      event.setInstant(time(i));
      event.setThreadName("main");
      event.setMDCPropertyMap(Map.of("user", "Zoé"));
      out.write(encoder.encode(event));
    }
    return out.toByteArray();
  }

  static void write(String dir, String name, byte[] body) throws IOException {
    // The layout of GELF for TCP ends each message with a NUL.
    String text = new String(body, StandardCharsets.UTF_8).replace('\0', '\n').replace("\r\n", "\n");
    Files.writeString(Path.of(dir, name + ".body"), text);
  }

  public static void main(String[] args) throws IOException {
    String dir = args[0];
    write(dir, "log4j-ecs", template("EcsLayout.json"));
    write(dir, "log4j-logstash", template("LogstashJsonEventLayoutV1.json"));
    write(dir, "log4j-jsonlayout", template("JsonLayout.json"));
    write(dir, "log4j-gelf", template("GelfLayout.json"));
    write(dir, "log4j-json", log4j(JsonLayout.newBuilder().setConfiguration(new DefaultConfiguration())
        .setCompact(true).setEventEol(true).setProperties(true).setStacktraceAsString(true).build()));
    write(dir, "logback-logstash", logback(new LogstashEncoder()));
    var ecs = new EcsEncoder();
    ecs.setServiceName("shop");
    write(dir, "logback-ecs", logback(ecs));
  }
}
