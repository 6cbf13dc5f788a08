// Logs with pino, winston and bunyan and writes their output to files in the
// directory given as the argument. For winston, these are the request bodies of
// its HTTP transport. The script fixes the clock, the host name and the process
// ID, so that the output is reproducible, and changes nothing else.
'use strict'
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')
const vm = require('node:vm')

const dir = process.argv[2]
if (!dir) {
  console.error('usage: node make.js DIRECTORY')
  process.exit(2)
}

// The clock advances by a second and a bit each time it is read.
const RealDate = Date
let now
function resetClock() { now = RealDate.UTC(2026, 10, 22, 15, 24, 0, 123) }
class FixedDate extends RealDate {
  constructor(...args) {
    if (args.length) super(...args)
    else super(FixedDate.now())
  }
  static now() { return (now += 1011) }
}
resetClock()
globalThis.Date = FixedDate
Object.defineProperty(process, 'pid', { value: 42 })
require('node:os').hostname = () => 'web-1'

const french = 'commande passée à « Zoé » — 注文 ✓ 🚀'
const ansi = '\x1b[31mred\x1b[0m alert\ttab \x01 \x7f'
const quoted = 'said "no"\nthen C:\\temp\\x and </script> & \'rest\'\u2028end'
const decoy = 'payload was {"level":"error","message":"inner"}'

// Errors are created in a script with a fixed name, so that their stack traces
// do not contain the path of this file.
Error.stackTraceLimit = 2
const failing = vm.runInThisContext(`
function charge() { const e = new TypeError('card declined: "insufficient funds"'); e.code = 'E_CARD'; return e }
(function failing() { return charge() })
`, { filename: '/srv/shop/charge.js' })

const pino = require('pino')
function pinoFile(name, options, log) {
  resetClock()
  const file = path.join(dir, name + '.body')
  fs.rmSync(file, { force: true })
  const l = pino({ base: { pid: process.pid, hostname: 'web-1' }, level: 'trace', ...options }, pino.destination({ dest: file, sync: true }))
  log(l)
}

pinoFile('pino', { customLevels: { audit: 55, notice: 35 } }, (l) => {
  l.trace('entering handler')
  l.debug({ key: 'user:42', hit: false }, 'cache miss')
  l.info({ user: 'Zoé' }, french)
  l.info({ ctx: { level: 50, severity: 'error' } }, decoy)
  l.notice('between info and warn')
  l.warn({ req: { method: 'GET', url: '/a?b=1&c=<2>' }, status: 499 }, 'slow request')
  l.error(failing())
  l.error({ err: failing(), amount: 12.5 }, 'payment failed')
  l.error('plain %s %d%%', 'format', 50)
  l.error({ html: '<b>&</b>' }, quoted)
  l.error(ansi)
  l.error({ code: 7 })
  l.audit({ actor: 'root' }, 'a level of its own between error and fatal')
  // pino writes a field even if it has the name of one of its own keys.
  l.error({ level: 30, time: 'later', msg: 'second' }, 'first and last')
  l.error({ lone: '\ud800', nothing: null, big: 12345678901234567890n }, 'odd values')
  l.child({ requestId: 'r-1' }).fatal('giving up')
})

pinoFile('pino-labels', {
  messageKey: 'message',
  errorKey: 'error',
  timestamp: pino.stdTimeFunctions.isoTime,
  formatters: { level: (label) => ({ level: label }) },
}, (l) => {
  l.debug('cache miss')
  l.info({ user: 'Zoé' }, french)
  l.warn('slow request')
  l.error(failing(), 'payment failed')
  l.fatal('giving up')
})

const ecsPino = require('@elastic/ecs-pino-format').ecsFormat({ serviceName: 'shop', apmIntegration: false })
pinoFile('ecs-pino', ecsPino, (l) => {
  l.debug({ key: 'user:42' }, 'cache miss')
  l.info({ user: 'Zoé' }, french)
  l.info({ log: { logger: 'a' } }, decoy)
  l.warn('slow request')
  l.error({ err: failing() }, 'payment failed')
  l.fatal(quoted)
})

// Google's configuration of pino. Its insert ids are random, so they are replaced.
process.env.METADATA_SERVER_DETECTION = 'none' // it would ask Google's cloud for the project
const { createGcpLoggingPinoConfig } = require('@google-cloud/pino-logging-gcp-config')
const service = { serviceContext: { service: 'shop', version: '1' }, inihibitDiagnosticMessage: true }
pinoFile('google-pino', createGcpLoggingPinoConfig(service), (l) => {
  l.trace('entering handler')
  l.debug({ key: 'user:42' }, 'cache miss')
  l.info({ user: 'Zoé' }, french)
  l.info({ ctx: { severity: 'ERROR' } }, decoy)
  l.warn('slow request')
  l.error(failing(), 'payment failed')
  l.fatal(quoted)
})
{
  const file = path.join(dir, 'google-pino.body')
  const id = /("logging.googleapis.com\/insertId":)"[^"]*"/g
  fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace(id, '$1"0"'))
}

const bunyan = require('bunyan')
{
  resetClock()
  const lines = []
  const l = bunyan.createLogger({
    name: 'shop', hostname: 'web-1', level: 'trace',
    serializers: bunyan.stdSerializers, streams: [{ level: 'trace', stream: { write: (s) => lines.push(s) } }],
  })
  l.trace('entering handler')
  l.debug({ key: 'user:42', hit: false }, 'cache miss')
  l.info({ user: 'Zoé' }, french)
  l.info({ ctx: { level: 50 } }, decoy)
  l.warn({ took: 1.5, status: 499 }, 'slow request')
  l.error(failing())
  l.error({ err: failing(), amount: 12.5 }, 'payment failed')
  l.error({ html: '<b>&</b>' }, quoted)
  l.error(ansi)
  l.error({ message: 'in message' }, 'in msg')
  l.child({ widget: 'cart' }).fatal('giving up')
  fs.writeFileSync(path.join(dir, 'bunyan.body'), lines.join(''))
}

// OpenTelemetry's console exporter prints an object that is not JSON. This is the object as JSON.
const { LoggerProvider, SimpleLogRecordProcessor, ConsoleLogRecordExporter } = require('@opentelemetry/sdk-logs')
const { SeverityNumber } = require('@opentelemetry/api-logs')
const { resourceFromAttributes } = require('@opentelemetry/resources')
{
  resetClock()
  const lines = []
  class JSONExporter extends ConsoleLogRecordExporter {
    _sendLogRecords(records, done) {
      for (const r of records) lines.push(JSON.stringify(this._exportInfo(r)) + '\n')
      done({ code: 0 })
    }
  }
  const provider = new LoggerProvider({
    resource: resourceFromAttributes({ 'service.name': 'shop' }),
    processors: [new SimpleLogRecordProcessor({ exporter: new JSONExporter() })],
  })
  const l = provider.getLogger('shop', '1.0')
  const emit = (severityNumber, severityText, body, attributes) => l.emit({ severityNumber, severityText, body, attributes })
  emit(SeverityNumber.DEBUG, 'DEBUG', 'cache miss', { key: 'user:42', hit: false })
  emit(SeverityNumber.INFO, 'INFO', french, { user: 'Zoé' })
  emit(SeverityNumber.INFO, undefined, decoy)
  emit(SeverityNumber.WARN, 'warning', 'slow request', { status: 499 })
  emit(SeverityNumber.ERROR, 'ERROR', quoted)
  emit(undefined, 'FATAL', ansi)
  emit(undefined, undefined, { a: 'map', as: ['the', 'message', 1] })
  fs.writeFileSync(path.join(dir, 'otel-js.body'), lines.join(''))
}

// NestJS writes to the standard output and to the standard error.
require('reflect-metadata')
const { ConsoleLogger } = require('@nestjs/common')
{
  resetClock()
  const lines = []
  const { stdout, stderr } = process
  const writes = [stdout, stderr].map((stream) => stream.write)
  stdout.write = stderr.write = (line) => lines.push(line)
  const l = new ConsoleLogger('Shop', { json: true })
  l.verbose('entering handler')
  l.debug({ key: 'user:42', hit: false })
  l.log(french)
  l.log(decoy, 'Checkout')
  l.warn('slow request')
  l.error('payment failed', 'Error: card declined\n    at charge (/srv/shop/charge.js:1:2)')
  l.error(quoted)
  l.fatal(ansi)
  stdout.write = writes[0]
  stderr.write = writes[1]
  fs.writeFileSync(path.join(dir, 'nestjs.body'), lines.join(''))
}

const winston = require('winston')
function winstonLog(l) {
  l.silly('entering handler')
  l.debug('cache miss', { key: 'user:42', hit: false })
  l.verbose('cache is cold')
  l.http('GET /a?b=1&c=<2>', { status: 200 })
  l.info(french, { user: 'Zoé' })
  l.info(decoy, { ctx: { level: 'error', severity: 'fatal' } })
  l.warn('slow request', { status: 499 })
  l.error('payment failed', { err: { message: 'card declined', code: 'E_CARD' }, amount: 12.5 })
  l.error(failing())
  l.error(quoted, { html: '<b>&</b>' })
  l.error(ansi)
  l.log('error', { some: 'object', as: ['the', 'message', 1] })
}
const { combine, timestamp, json, errors, colorize } = winston.format

// winston posts to a server that writes the body to a file.
function winstonPost(name, format, options, log) {
  return new Promise((resolve, reject) => {
    resetClock()
    const server = http.createServer((req, res) => {
      const body = []
      req.on('data', (b) => body.push(b))
      req.on('end', () => {
        fs.writeFileSync(path.join(dir, name + '.body'), Buffer.concat(body))
        res.end('{}')
        server.close()
        server.closeAllConnections()
        resolve()
      })
    })
    server.listen(0, '127.0.0.1', () => {
      const transport = new winston.transports.Http({ host: '127.0.0.1', port: server.address().port, path: '/ingest?wait=1', ...options })
      transport.on('warn', reject)
      log(winston.createLogger({ level: 'silly', format, transports: [transport] }))
    })
  })
}

(async () => {
  await winstonPost('winston', combine(errors({ stack: true }), timestamp(), json()), { batch: true, batchCount: 12 }, winstonLog)
  const ecsWinston = require('@elastic/ecs-winston-format').ecsFormat({ apmIntegration: false })
  await winstonPost('ecs-winston', ecsWinston, { batch: true, batchCount: 12 }, winstonLog)
  await winstonPost('winston-single', combine(timestamp(), json()), {}, (l) => l.error(french, { user: 'Zoé', tags: [] }))
  await winstonPost('winston-colorize', combine(colorize(), timestamp({ format: 'YYYY-MM-DD HH:mm:ss.SSS' }), json()), { batch: true, batchCount: 2 }, (l) => {
    l.info('the level is wrapped in colours')
    l.error('the level is wrapped in colours')
  })
})()
