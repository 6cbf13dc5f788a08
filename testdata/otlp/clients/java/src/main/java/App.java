import io.opentelemetry.api.common.*;
import io.opentelemetry.api.logs.*;
import io.opentelemetry.exporter.otlp.http.logs.OtlpHttpLogRecordExporter;
import io.opentelemetry.sdk.logs.SdkLoggerProvider;
import io.opentelemetry.sdk.logs.export.BatchLogRecordProcessor;
import io.opentelemetry.sdk.resources.Resource;
import java.time.Instant;
import java.util.concurrent.TimeUnit;

public class App {
  public static void main(String[] args) throws Exception {
    int n = Integer.parseInt(args[1]);
    var exporter = OtlpHttpLogRecordExporter.builder().setEndpoint(args[0]).build();
    var provider = SdkLoggerProvider.builder()
        .setResource(Resource.create(Attributes.of(AttributeKey.stringKey("service.name"), "java-demo")))
        .addLogRecordProcessor(BatchLogRecordProcessor.builder(exporter).setMaxQueueSize(100000).build()).build();
    var log = provider.loggerBuilder("demo").setInstrumentationVersion("1.0").build();
    for (int i = 0; i < n; i++) {
      log.logRecordBuilder().setSeverity(i % 2 == 0 ? Severity.ERROR : Severity.WARN).setSeverityText(i % 2 == 0 ? "ERROR" : "WARN")
          .setTimestamp(Instant.now()).setBody("java " + i).setAttribute(AttributeKey.longKey("order"), (long) i)
          .setAttribute(AttributeKey.stringKey("user"), "bob").emit();
      Thread.sleep(2);
    }
    provider.shutdown().join(30, TimeUnit.SECONDS);
  }
}
