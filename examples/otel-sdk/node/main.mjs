// Sends records to the log ingester with OpenTelemetry's SDK. It sends each line of
// standard input as an error:
//
//   npm install
//   echo 'payment failed' | node main.mjs
import { createInterface } from 'node:readline'
import { SeverityNumber } from '@opentelemetry/api-logs'
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-proto'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs'

const exporter = new OTLPLogExporter({
  url: 'http://localhost:3002/v1/logs?wait=1',
  headers: { Authorization: 'Bearer KEY' },
})
const provider = new LoggerProvider({
  resource: resourceFromAttributes({ 'service.name': 'shop' }),
  processors: [new BatchLogRecordProcessor({ exporter })],
})
const logger = provider.getLogger('shop')
const log = (severityText, body) => logger.emit({ severityNumber: SeverityNumber[severityText], severityText, body })

log('INFO', 'started')
for await (const line of createInterface({ input: process.stdin })) log('ERROR', line)
log('WARN', 'end of input')
await provider.shutdown() // sends what waits
