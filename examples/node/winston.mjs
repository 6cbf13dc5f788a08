// Sends the logs of winston to the log ingester. It logs each line of standard
// input as an error:
//
//   npm ci
//   echo 'payment failed' | node winston.mjs
//
// Copy ingest.mjs, which needs only Node, into your program.
import { createInterface } from 'node:readline'
import winston from 'winston'
import ingest from './ingest.mjs'

const { combine, errors, json, timestamp } = winston.format
const log = winston.createLogger({
  // Without colorize(), which writes colors into the level.
  format: combine(errors({ stack: true }), timestamp(), json()),
  transports: [
    new winston.transports.Stream({ stream: ingest({ url: 'http://localhost:3002/ingest?wait=1', key: 'KEY' }) }),
  ],
})

log.info('started')
for await (const line of createInterface({ input: process.stdin })) log.error(line)
log.warn('end of input')
