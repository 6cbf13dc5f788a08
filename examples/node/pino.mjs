// Sends the logs of pino to the log ingester. It logs each line of standard
// input as an error:
//
//   npm ci
//   echo 'payment failed' | node pino.mjs
//
// Copy ingest.mjs, which needs only Node, into your program.
import { createInterface } from 'node:readline'
import pino from 'pino'

const log = pino(pino.transport({
  target: new URL('ingest.mjs', import.meta.url).href,
  options: {
    url: 'http://localhost:3002/ingest?wait=1',
    key: 'KEY',
    exitTimeout: 8000, // pino itself stops waiting after 10 s and then reports nothing
  },
}))

log.info('started')
for await (const line of createInterface({ input: process.stdin })) log.error(line)
log.warn('end of input')
