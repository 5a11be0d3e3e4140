/** One route per command, GET for lists. A route gets the parsed request and writes the answer. */
import type { ServerResponse } from 'node:http'
import type { Director } from '../director.js'
import type { PublicCommand } from '../model/commands.js'
import { ControlError, failure } from '../model/errors.js'
import type { Result } from '../model/errors.js'
import { decodeCommand, decodeFilter, decodeServiceId } from './schema.js'
import type { Outcome } from './views.js'

export interface RouteRequest {
  readonly query: URLSearchParams
  /** Parsed JSON; undefined for GET. */
  readonly body: unknown
  readonly response: ServerResponse
}

export type Route = (request: RouteRequest) => Promise<void>

export interface RouteOptions {
  readonly director: Director
  /** Text of /metrics and its content type. */
  readonly metrics: () => Promise<{ text: string; type: string }>
  /** Ends a worker's thread as a crash would; the supervisor replaces it. */
  readonly restartWorker: (worker: number) => void
}

const COMMAND_KINDS: readonly PublicCommand['kind'][] = [
  'addService',
  'editService',
  'deleteService',
  'flush',
  'addDestination',
  'editDestination',
  'deleteDestination',
  'zero',
  'setTimeouts',
  'addLocalAddress',
  'deleteLocalAddress',
  'setSysctl',
  'setDefaultLocalAddresses',
  'setFullnat',
  'startDaemon',
  'stopDaemon',
]

/** `METHOD /path` -> route. */
export function createRoutes({
  director,
  metrics,
  restartWorker,
}: RouteOptions): ReadonlyMap<string, Route> {
  const routes = new Map<string, Route>([
    [
      'GET /v1/services',
      async ({ query, response }) => sendResult(response, listServices(director, query)),
    ],
    ['GET /v1/info', async ({ response }) => sendJson(response, director.info())],
    ['GET /v1/status', async ({ response }) => sendJson(response, director.status())],
    ['GET /v1/connections', (request) => streamConnections(director, request)],
    [
      'GET /metrics',
      async ({ response }) => {
        const { text, type } = await metrics()
        response.setHeader('content-type', type)
        response.end(text)
      },
    ],
    [
      'POST /v1/restartWorker',
      async ({ body, response }) => {
        const worker = (body as { worker?: unknown } | null)?.worker
        const known = director.status().workers.find(({ id }) => id === worker)
        if (known === undefined) {
          return sendResult(response, failure('REQUEST_BAD', 'worker must be the id of a worker'))
        }
        restartWorker(known.id)
        sendJson(response, { ok: true })
      },
    ],
    ['POST /v1/batch', ({ body, response }) => runBatch(director, body, response)],
  ])
  for (const kind of COMMAND_KINDS) {
    routes.set(`POST /v1/${kind}`, async ({ body, response }) => {
      const command = decodeCommand({ ...(body as object | undefined), kind })
      if (!command.ok) return sendError(response, command.error)
      const [outcome] = await director.execute([command.value])
      if (outcome.ok) return sendJson(response, outcome)
      sendError(response, new ControlError(outcome.code, outcome.message))
    })
  }
  return routes
}

function listServices(director: Director, query: URLSearchParams): Result<unknown> {
  if (query.size === 0) return director.services()
  try {
    return director.services(
      decodeServiceId({
        protocol: query.get('protocol'),
        address: query.get('address'),
        port: Number(query.get('port') ?? 0),
        fwmark: Number(query.get('fwmark') ?? 0),
      }),
    )
  } catch (error) {
    if (error instanceof ControlError) return { ok: false, error }
    throw error
  }
}

/** Commands that cannot be understood get their own outcome; the others are carried out. */
async function runBatch(director: Director, body: unknown, response: ServerResponse) {
  const commands = (body as { commands?: unknown } | null)?.commands
  if (!Array.isArray(commands)) {
    return sendResult(response, failure('REQUEST_BAD', 'commands must be a list'))
  }
  const decoded = commands.map(decodeCommand)
  const good = decoded.filter((d) => d.ok).map((d) => d.value)
  const done = await director.execute(good)
  let at = 0
  const outcomes = decoded.map((d): Outcome =>
    d.ok ? done[at++] : { ok: false, code: d.error.code, message: d.error.message },
  )
  sendJson(response, { outcomes })
}

/** One JSON object per line; waits while the reader is slow, ends when it has gone. */
async function streamConnections(director: Director, { query, response }: RouteRequest) {
  const filter = decodeFilter(query)
  if (!filter.ok) return sendError(response, filter.error)
  response.setHeader('content-type', 'application/x-ndjson')
  const gone = new Error('the reader has gone')
  try {
    await director.connections(filter.value, async (rows) => {
      if (response.destroyed) throw gone
      if (rows.length === 0) return
      const text = rows.map((row) => `${JSON.stringify(row)}\n`).join('')
      if (!response.write(text)) await roomIn(response)
    })
  } catch (error) {
    if (error !== gone) throw error
  }
  response.end()
}

/** Resolves when there is room for more, or nobody to write it for. */
function roomIn(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const go = () => {
      response.off('drain', go)
      response.off('close', go)
      resolve()
    }
    response.on('drain', go)
    response.on('close', go)
  })
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(value))
}

function sendResult(response: ServerResponse, result: Result<unknown>): void {
  if (result.ok) sendJson(response, result.value)
  else sendError(response, result.error)
}

/** An error as JSON, with the HTTP status that fits its errno. */
export function sendError(response: ServerResponse, error: ControlError, status?: number): void {
  const statuses: Partial<Record<string, number>> = {
    ENOENT: 404,
    ESRCH: 404,
    EEXIST: 409,
    EIO: 500,
  }
  response.statusCode = status ?? statuses[error.errno] ?? 400
  const { code, errno, message } = error
  sendJson(response, { error: { code, errno, message } })
}
