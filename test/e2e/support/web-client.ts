/**
 * The client's side: makes HTTP requests and says who answered, how fast, in what order.
 *
 *   node web-client.js '{"url":"http://198.18.0.101/","requests":12}'
 *
 * Prints one line of JSON (WebResult). With `hold` every request keeps its connection open; after
 * the first line each SIGUSR2 makes one more round over the held connections and prints another.
 */
import { Agent, get } from 'node:http'
import process from 'node:process'

/** What is asked for. */
export interface WebTask {
  url: string
  /** How many connections, one request on each. */
  requests: number
  /** Requests under way at a time; 1 unless given. */
  parallel?: number
  /** The client's own addresses, taken in turns. */
  from?: string[]
  /** Keep every connection open. */
  hold?: boolean
  /** For one request; 2000 unless given. */
  limitMs?: number
}

/** What came out. */
export interface WebResult {
  /** Who answered, request by request. */
  answers: string[]
  /** From before the connect to the last byte, request by request, in microseconds. */
  latenciesUs: number[]
  failures: string[]
}

const LIMIT_MS = 2000
const PROBE_MS = 3_600_000
/** More failures than this say nothing new; the rest of the task is left out. */
const FAILURES_MAX = 5

const task = JSON.parse(process.argv[2] ?? '{}') as WebTask
const agents = Array.from({ length: task.requests }, (_, i) => {
  const source = task.from?.[i % task.from.length]
  const keepAlive = task.hold === true
  // No probes on idle connections: they would be packets the tests do not know of.
  const options = { keepAlive, keepAliveMsecs: PROBE_MS, maxSockets: 1 }
  return new Agent({ ...options, ...(source && { localAddress: source }) })
})

function request(agent: Agent, reuse: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const timeout = task.limitMs ?? LIMIT_MS
    const sent = get(task.url, { agent, timeout }, (response) => {
      if (reuse !== sent.reusedSocket) return reject(new Error('hang up before the request'))
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => (body += text))
      response.once('end', () => {
        if (response.statusCode === 200) resolve(body)
        else reject(new Error(`status ${response.statusCode}`))
      })
      response.once('error', reject)
    })
    sent.once('timeout', () => sent.destroy(new Error(`no answer within ${timeout} ms`)))
    sent.once('error', reject)
  })
}

async function round(reuse: boolean): Promise<WebResult> {
  const result: WebResult = { answers: [], latenciesUs: [], failures: [] }
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < task.requests && (task.hold || result.failures.length < FAILURES_MAX)) {
      const i = next++
      const startMs = performance.now()
      try {
        result.answers[i] = await request(agents[i], reuse)
        result.latenciesUs[i] = (performance.now() - startMs) * 1000
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error)
        result.failures.push(`request ${i + 1} to ${task.url}: ${text}`)
      }
    }
  }
  await Promise.all(Array.from({ length: task.parallel ?? 1 }, lane))
  return result
}

const say = async (reuse: boolean): Promise<void> => console.log(JSON.stringify(await round(reuse)))
await say(false)
if (task.hold === true) {
  process.on('SIGUSR2', () => void say(true))
  setInterval(() => undefined, 60_000)
}
