/** The daemon as other programs see it: HTTP over its Unix socket. */
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { createInterface } from 'node:readline'
import type { PublicCommand } from '../model/commands.js'
import { ControlError, isErrorCode } from '../model/errors.js'
import type { ServiceId } from '../model/service.js'
import { encodeCommand } from './schema.js'
import type { ConnectionFilter } from './schema.js'
import type {
  ConnectionView,
  InfoView,
  MarkRuleView,
  Outcome,
  ServiceView,
  StatusView,
} from './views.js'

export type { ConnectionFilter } from './schema.js'

export const DEFAULT_SOCKET = '/run/uvs/uvs.sock'

/** Every call throws ControlError, with code DAEMON_ABSENT when nobody listens. */
export interface ControlClient {
  /** Takes effect in order; one outcome per command. */
  execute(commands: readonly PublicCommand[]): Promise<Outcome[]>
  /** All services in kernel order, or the one asked for. */
  services(only?: ServiceId): Promise<ServiceView[]>
  /** All mark rules, in order. */
  markRules(): Promise<MarkRuleView[]>
  info(): Promise<InfoView>
  status(): Promise<StatusView>
  /** Connections and templates, batch by batch. */
  connections(
    filter: ConnectionFilter,
    onBatch: (rows: readonly ConnectionView[]) => void | Promise<void>,
  ): Promise<void>
}

/** Rows handed over at once. */
const ROWS_PER_BATCH = 512

/** A client of the daemon on `socketPath`. Opens a connection per call. */
export function controlClient(socketPath: string): ControlClient {
  async function getJson<T>(path: string): Promise<T> {
    return JSON.parse(await readAll(await send(socketPath, 'GET', path))) as T
  }
  return {
    async execute(commands) {
      const body = JSON.stringify({ commands: commands.map(encodeCommand) })
      const answer = await readAll(await send(socketPath, 'POST', '/v1/batch', body))
      return (JSON.parse(answer) as { outcomes: Outcome[] }).outcomes
    },
    services: (only) => getJson(`/v1/services${only === undefined ? '' : serviceQuery(only)}`),
    markRules: () => getJson('/v1/markRules'),
    info: () => getJson('/v1/info'),
    status: () => getJson('/v1/status'),
    async connections(filter, onBatch) {
      const query = new URLSearchParams(Object.entries(filter) as [string, string][])
      const answer = await send(socketPath, 'GET', `/v1/connections?${query.toString()}`)
      let rows: ConnectionView[] = []
      for await (const line of createInterface({ input: answer })) {
        rows.push(JSON.parse(line) as ConnectionView)
        if (rows.length < ROWS_PER_BATCH) continue
        await onBatch(rows)
        rows = []
      }
      if (!answer.complete) throw absent(socketPath, 'the connection broke off')
      if (rows.length > 0) await onBatch(rows)
    },
  }
}

function serviceQuery(id: ServiceId): string {
  const { protocol, address, port, fwmark } = id
  const query = new URLSearchParams({
    protocol,
    address: address.text,
    port: String(port),
    fwmark: String(fwmark),
  })
  return `?${query.toString()}`
}

function absent(socketPath: string, why: string): ControlError {
  return new ControlError(
    'DAEMON_ABSENT',
    `no uvs answers on ${socketPath} (${why}); start it with "uvs run", ` +
      'or name its socket in UVS_SOCKET',
  )
}

/** The answer to one request; refusals of the daemon are thrown. */
async function send(
  socketPath: string,
  method: string,
  path: string,
  body?: string,
): Promise<IncomingMessage> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, agent: false }, resolve)
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      const denied = error.code === 'EACCES' || error.code === 'EPERM'
      reject(
        denied
          ? new ControlError('PERMISSION', `${socketPath} may only be used by root`)
          : absent(socketPath, error.code ?? error.message),
      )
    })
    if (body !== undefined) outgoing.setHeader('content-type', 'application/json')
    outgoing.end(body)
  })
  if (answer.statusCode === 200) return answer
  throw refusal(await readAll(answer), answer.statusCode)
}

function refusal(body: string, status: number | undefined): ControlError {
  try {
    const { error } = JSON.parse(body) as { error?: { code?: unknown; message?: unknown } }
    if (isErrorCode(error?.code)) return new ControlError(error.code, String(error.message))
  } catch {
    // Not our JSON: the status is all there is to say.
  }
  return new ControlError('REQUEST_BAD', `the daemon answered with HTTP status ${status ?? 0}`)
}

async function readAll(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of answer) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString('utf8')
}
