/**
 * The IPVS socket: lets unmodified IPVS programs, carried by the preload library of `uvs shim`,
 * talk to the director as they do to the kernel (private-protocol.ts says in which words). Clients
 * are known by their credentials (SO_PEERCRED): root and the director's own user may do everything,
 * others what an unprivileged program may do with the kernel. Requests of one client are answered
 * one after the other; the changes of all go through the director's queue, and each is answered
 * when it is in force.
 */
import { rmSync } from 'node:fs'
import { openRawSocket } from '../../dataplane/native.js'
import type { NativeRawSocket } from '../../dataplane/native.js'
import { prepareSocket } from '../api/access.js'
import { systemClock } from '../clock.js'
import { atMostEvery } from '../log.js'
import { ControlError } from '../model/errors.js'
import { ERRNO } from '../netlink/errno.js'
import { splitMessages } from '../netlink/message.js'
import type { Message } from '../netlink/message.js'
import { answerMessage } from './answer.js'
import { Client } from './client.js'
import { fileAt } from './files.js'
import type { IpvsServerOptions } from './options.js'
import { getOption, setOption } from './legacy.js'
import { packData, packEnd, packReply, readPrivateRequest } from './private-protocol.js'
import type { PrivateRequest } from './private-protocol.js'

/** Everybody may connect: what they may do is decided by who they are. */
const SOCKET_MODE = 0o666

/** Clients at a time; the unprivileged cannot take the places of the others. */
const CLIENTS_MAX = 256
const UNPRIVILEGED_MAX = 64
const ACCEPT_PAUSE_MS = 1000
/** Clients accepted before everything else in the process has its turn again. */
const ACCEPTS_PER_TURN = 16
/** Everybody can cause these lines, so there is one of a kind in this time. */
const LOG_PERIOD_MS = 60_000

/** Starts listening; resolves to what stops it. Throws ControlError when the place is taken. */
export async function startIpvsServer(options: IpvsServerOptions): Promise<() => Promise<void>> {
  // Whoever has the control socket has this path too, so a socket found here is a leftover.
  await prepareSocket(options.path)
  const server = new IpvsServer(options)
  return () => server.close()
}

class IpvsServer {
  readonly #options: IpvsServerOptions
  readonly #listener: NativeRawSocket
  readonly #clients = new Map<Client, { isPrivileged: boolean }>()
  readonly #warnFull: (message: string) => void
  readonly #warnAccept: (message: string) => void
  #pause: NodeJS.Timeout | undefined

  constructor(options: IpvsServerOptions) {
    this.#options = options
    const warn = (message: string) => options.log.warn(message)
    this.#warnFull = atMostEvery(LOG_PERIOD_MS, warn, systemClock)
    this.#warnAccept = atMostEvery(LOG_PERIOD_MS, warn, systemClock)
    this.#listener = listen(options.path)
    this.#listen()
  }

  #listen(): void {
    this.#listener.onReadable(() => this.#acceptSome())
  }

  close(): Promise<void> {
    clearTimeout(this.#pause)
    this.#listener.close()
    rmSync(this.#options.path, { force: true })
    for (const client of this.#clients.keys()) client.close()
    this.#clients.clear()
    return Promise.resolve()
  }

  /** Those that still wait after it are heard of in the next turn. */
  #acceptSome(): void {
    try {
      for (let accepted = 0; accepted < ACCEPTS_PER_TURN; accepted++) {
        const next = this.#listener.accept()
        if (next === undefined) return
        this.#welcome(next.socket, next.uid)
      }
    } catch (error) {
      // Out of descriptors, most likely: the client goes on waiting, and so does this.
      this.#warnAccept(`the IPVS socket could not take a client: ${String(error)}`)
      this.#listener.onReadable(undefined)
      this.#pause = setTimeout(() => this.#listen(), ACCEPT_PAUSE_MS)
    }
  }

  #welcome(socket: NativeRawSocket, uid: number): void {
    const isPrivileged = uid === 0 || uid === process.geteuid?.()
    const present = [...this.#clients.values()]
    const others = present.filter((client) => !client.isPrivileged).length
    if (present.length >= CLIENTS_MAX || (!isPrivileged && others >= UNPRIVILEGED_MAX)) {
      this.#warnFull('the IPVS socket has all the clients it takes')
      return socket.close()
    }
    const client: Client = new Client(socket, (packet) => this.#serve(client, packet, isPrivileged))
    this.#clients.set(client, { isPrivileged })
    client.onEnd((error) => {
      this.#clients.delete(client)
      // What others send wrong is nothing to fill the log with.
      if (error !== undefined && isPrivileged) {
        this.#options.log.debug(`an IPVS client ended: ${String(error)}`)
      }
    })
    client.start()
  }

  /** Answers one packet; whatever is thrown ends the client. */
  async #serve(client: Client, packet: Uint8Array, isPrivileged: boolean): Promise<void> {
    const messages = splitMessages(packet)
    for (const [at, message] of messages.entries()) {
      // A packet has room for thousands: others get their turn before the next one.
      if (at > 0) await new Promise(setImmediate)
      await this.#serveMessage(client, message, isPrivileged)
    }
  }

  async #serveMessage(client: Client, message: Message, isPrivileged: boolean): Promise<void> {
    const request = readPrivateRequest(message)
    if (request !== undefined) return this.#servePrivate(client, request, isPrivileged)
    const answer = await answerMessage(message, isPrivileged, this.#options.director)
    for (const datagram of answer) await client.send(datagram)
  }

  async #servePrivate(
    client: Client,
    request: PrivateRequest,
    isPrivileged: boolean,
  ): Promise<void> {
    const { director } = this.#options
    if (request.kind === 'readFile') return this.#sendFile(client, request.path)
    if (request.kind === 'setOption') {
      const { option, value } = request
      return client.send(packReply(await setOption(option, value, isPrivileged, director)))
    }
    const { option, length, input } = request
    const value = getOption(option, length, input, isPrivileged, director)
    await client.send(packReply(value.ok ? 0 : value.errno))
    if (!value.ok) return
    await sendData(client, value.value)
    await client.send(packEnd())
  }

  /** Files are open to everybody, as the kernel's are. */
  async #sendFile(client: Client, path: string): Promise<void> {
    const { director, port } = this.#options
    const file = fileAt(path, director, () => port.counters().total())
    await client.send(packReply(file === undefined ? ERRNO.ENOENT : 0))
    if (file === undefined) return
    await file((text) => sendData(client, Buffer.from(text)))
    await client.send(packEnd())
  }
}

async function sendData(client: Client, data: Uint8Array): Promise<void> {
  for (const packet of packData(data)) await client.send(packet)
}

function listen(path: string): NativeRawSocket {
  try {
    return openRawSocket({ kind: 'listen', path, mode: SOCKET_MODE })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const refused = code === 'EACCES' || code === 'EPERM' ? 'PERMISSION' : 'SOCKET_IN_USE'
    throw new ControlError(refused, `cannot listen on ${path}: ${message}`)
  }
}
