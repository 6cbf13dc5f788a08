// Sends ERROR and WARN records with a default exporter. Arguments: endpoint,
// count, json or proto.
import { SeverityNumber } from '@opentelemetry/api-logs';
import { OTLPLogExporter as JSONExporter } from '@opentelemetry/exporter-logs-otlp-http';
import { OTLPLogExporter as ProtoExporter } from '@opentelemetry/exporter-logs-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { setTimeout } from 'node:timers/promises';

const [url, count, encoding] = process.argv.slice(2);
const Exporter = encoding === 'json' ? JSONExporter : ProtoExporter;
const provider = new LoggerProvider({
  resource: resourceFromAttributes({ 'service.name': 'node-demo' }),
  processors: [new BatchLogRecordProcessor({ exporter: new Exporter({ url }), scheduledDelayMillis: 200 })],
});
const log = provider.getLogger('demo', '1.0');
for (let i = 0; i < Number(count); i++) {
  const warn = i % 2 === 1;
  log.emit({
    severityNumber: warn ? SeverityNumber.WARN : SeverityNumber.ERROR,
    severityText: warn ? 'WARN' : 'ERROR',
    body: `node ${i}`,
    attributes: { order: i, user: 'bob' },
  });
  await setTimeout(2);
}
await provider.shutdown();
