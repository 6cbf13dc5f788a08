// A stream that sends log lines to the log ingester. It works as a pino
// transport (pino.mjs) and as a winston stream (winston.mjs).
import { randomUUID } from 'node:crypto'
import { writeSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'

const BATCH_SIZE = 1 << 20 // characters after which a request takes no more lines

/**
 * Returns a stream that sends each line written to it, which must be a JSON
 * object. Writing never waits for the service.
 *
 * The stream repeats a request after a connection error or a status of 500 or
 * more, until the service accepts it. Each request has a key, so that the
 * service stores its lines once. On stderr the stream reports how many lines
 * were lost, and why.
 *
 * @param {object} options
 * @param {string} options.url the service. Without wait=1, it responds before it
 *   has stored the lines, and loses them if it is killed then.
 * @param {string} [options.key] the API key
 * @param {number} [options.maxLines] how many lines wait in memory; the stream drops further lines
 * @param {number} [options.exitTimeout] how long the end of the stream or of the program waits, in ms
 */
export default function ingest({ url, key, maxLines = 10_000, exitTimeout = 10_000 }) {
  const { request } = url.startsWith('https:') ? https : http
  const headers = { 'content-type': 'application/x-ndjson' }
  if (key) headers.authorization = `Bearer ${key}`

  const lines = [] // that wait
  let batch = [] // in the current request
  let overflow = 0 // lines dropped since the last report
  let partial = '' // the line whose end was not written yet
  let sending = null // a promise while there are lines to send
  let gaveUp = false // exitTimeout is over
  let abort // ends the current request or pause

  function add(line) {
    if (lines.length >= maxLines) overflow++
    else lines.push(line)
    sending ??= sendAll()
  }

  async function sendAll() {
    while (lines.length > 0) {
      batch = []
      for (let size = 0; lines.length > 0 && size < BATCH_SIZE; size += batch.at(-1).length) {
        batch.push(lines.shift())
      }
      await send(batch.join('\n'))
      batch = []
    }
    sending = null
  }

  // Posts the batch until the service accepts or refuses it.
  async function send(body) {
    const id = randomUUID()
    for (let wait = 100; ; wait = Math.min(2 * wait, 5000)) {
      const error = await post(body, id)
      if (overflow > 0) report(overflow, 'buffer full')
      overflow = 0
      if (!error) return
      if (!error.retry) return report(batch.length, error.reason)
      if (!gaveUp) await pause(wait)
      if (gaveUp) return report(batch.length + lines.splice(0).length, `not sent within ${exitTimeout} ms: ${error.reason}`)
    }
  }

  // Sends one request. The result is null or an error.
  function post(body, id) {
    return new Promise((resolve) => {
      const options = { method: 'POST', headers: { ...headers, 'idempotency-key': id }, timeout: 30_000 }
      const req = request(url, options, async (res) => {
        const answer = await text(res).catch(() => '')
        if (res.statusCode < 300) resolve(null)
        else resolve({ retry: res.statusCode >= 500, reason: `${res.statusCode} ${res.statusMessage}: ${answer.trim()}` })
      })
      req.on('socket', (socket) => socket.unref())
      req.on('timeout', () => req.destroy(new Error('request timed out')))
      req.on('error', (err) => resolve({ retry: true, reason: err.message || err.code }))
      abort = () => req.destroy()
      req.end(body)
    })
  }

  function pause(ms) {
    return new Promise((resolve) => {
      setTimeout(resolve, ms).unref()
      abort = resolve
    })
  }

  // Waits until all lines are sent or exitTimeout is over. Requests and pauses
  // do not keep the process alive, but this timer does.
  async function drain() {
    const timer = setTimeout(() => {
      gaveUp = true
      abort()
    }, exitTimeout)
    await sending
    clearTimeout(timer)
    gaveUp = false
  }

  process.on('beforeExit', () => sending && drain())
  process.on('exit', () => { // process.exit and uncaught exceptions skip beforeExit
    const unsent = batch.length + lines.length
    if (overflow > 0) report(overflow, 'buffer full')
    if (unsent > 0) report(unsent, 'the program exited before they were sent')
  })

  return new Writable({
    decodeStrings: false,
    write(chunk, encoding, done) {
      const written = (partial + chunk).split('\n')
      partial = written.pop()
      for (const line of written) add(line)
      done()
    },
    final(done) {
      if (partial) add(partial)
      drain().then(done, done)
    },
  })
}

// In a worker thread, where pino runs the stream, process.stderr would lose
// what is written at exit.
function report(n, reason) {
  writeSync(2, `log ingester: ${n} lines lost: ${reason}\n`)
}
