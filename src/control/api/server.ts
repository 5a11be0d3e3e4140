/** The control API: HTTP on a Unix socket, and on TCP when asked for. */
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Log } from '../log.js'
import { ControlError } from '../model/errors.js'
import { crossSite, prepareSocket, protectSocket } from './access.js'
import { sendError } from './routes.js'
import type { Route } from './routes.js'

/** Where to listen: a path, or an address and a port. */
export type ListenAt = { readonly path: string } | { readonly host: string; readonly port: number }

export interface ApiServer {
  /** The port really used, with `port: 0`; undefined on a Unix socket. */
  readonly port: number | undefined
  close(): Promise<void>
}

const BODY_BYTES_MAX = 64 * 1024 * 1024

/** Starts listening. Throws ControlError when the place is taken. */
export async function startApi(
  at: ListenAt,
  routes: ReadonlyMap<string, Route>,
  log: Log,
): Promise<ApiServer> {
  const overTcp = 'host' in at
  if (!overTcp) await prepareSocket(at.path)
  const server = createServer((request, response) => {
    serve(request, response, routes, overTcp).catch((error: unknown) => {
      log.error(`the API failed on ${request.method ?? ''} ${request.url ?? ''}: ${String(error)}`)
      if (response.headersSent) response.destroy()
      else sendError(response, new ControlError('DATAPLANE_FAILED', 'internal error; see the log'))
    })
  })
  await listen(server, at)
  if (!overTcp) protectSocket(at.path)
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : undefined,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function listen(server: Server, at: ListenAt): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = 'host' in at ? `${at.host} port ${at.port}` : at.path
      reject(
        new ControlError(
          error.code === 'EACCES' ? 'PERMISSION' : 'SOCKET_IN_USE',
          `cannot listen on ${where}: ${error.message}`,
        ),
      )
    })
    // The socket is never open to others, not even until its mode is set.
    const umask = process.umask(0o177)
    server.listen(at, resolve)
    process.umask(umask)
  })
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  routes: ReadonlyMap<string, Route>,
  overTcp: boolean,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://uvs')
  const route = routes.get(`${request.method ?? ''} ${url.pathname}`)
  if (route === undefined) {
    const message = `there is no ${request.method ?? ''} ${url.pathname}`
    return sendError(response, new ControlError('REQUEST_BAD', message), 404)
  }
  if (overTcp && crossSite(request)) {
    const message = 'changes need content type application/json and no foreign origin'
    return sendError(response, new ControlError('PERMISSION', message), 403)
  }
  const body = request.method === 'GET' ? { ok: true, value: undefined } : await readBody(request)
  if (!body.ok) {
    return sendError(response, new ControlError('REQUEST_BAD', 'the body must be JSON'))
  }
  await route({ query: url.searchParams, body: body.value, response })
}

async function readBody(request: IncomingMessage): Promise<{ ok: boolean; value?: unknown }> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length
    if (bytes > BODY_BYTES_MAX) return { ok: false }
    chunks.push(chunk as Buffer)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  try {
    return { ok: true, value: text === '' ? {} : (JSON.parse(text) as unknown) }
  } catch {
    return { ok: false }
  }
}
