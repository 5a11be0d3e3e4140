/** Who may talk to the daemon: the owner of the socket; over TCP, whoever the listener lets in. */
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import type { IncomingMessage } from 'node:http'
import { ControlError } from '../model/errors.js'

export const SOCKET_MODE = 0o600
const DIRECTORY_MODE = 0o755

/**
 * Makes room for a socket: creates the directory, removes the leftover of a dead daemon, refuses
 * when a live one answers or when something else is there. Throws ControlError.
 */
export async function prepareSocket(path: string): Promise<void> {
  mkdirSync(dirname(path), { recursive: true, mode: DIRECTORY_MODE })
  const found = lstatSync(path, { throwIfNoEntry: false })
  if (found === undefined) return
  if (!found.isSocket()) {
    throw new ControlError('SOCKET_IN_USE', `${path} exists and is not a socket; remove it first`)
  }
  if (await answers(path)) {
    throw new ControlError(
      'SOCKET_IN_USE',
      `another uvs already answers on ${path}; stop it, or choose another path with --socket`,
    )
  }
  unlinkSync(path)
}

/** Only the owner may use the socket from here on. */
export function protectSocket(path: string): void {
  chmodSync(path, SOCKET_MODE)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path)
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', () => resolve(false))
  })
}

/**
 * For the TCP listener: a page in somebody's browser must not be able to send commands. Changes
 * need a JSON content type (which makes browsers ask first) and, if an Origin is given, our own
 * host.
 */
export function crossSite(request: IncomingMessage): boolean {
  if (request.method === 'GET') return false
  const { origin, host } = request.headers
  if (request.headers['content-type']?.split(';')[0] !== 'application/json') return true
  return origin !== undefined && origin !== `http://${host ?? ''}`
}
