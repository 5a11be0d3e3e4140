/**
 * One client of the IPVS socket: takes a packet, has it answered, takes the next. What does not fit
 * into the socket waits until the client has read, so a slow one costs no memory.
 */
import type { NativeRawSocket } from '../../dataplane/native.js'

/** See the top of this file. */
export class Client {
  readonly #socket: NativeRawSocket
  readonly #serve: (packet: Uint8Array) => Promise<void>
  #onEnd: (error?: unknown) => void = () => undefined
  #isOpen = true
  /** Settles when everything before the next packet is on its way. */
  #before: Promise<void> = Promise.resolve()
  /** Ends the wait of a send() when the client is closed. */
  #abandon: (() => void) | undefined

  constructor(socket: NativeRawSocket, serve: (packet: Uint8Array) => Promise<void>) {
    this.#socket = socket
    this.#serve = serve
  }

  /** Called once: when the client has gone, or with what ended it. */
  onEnd(listener: (error?: unknown) => void): void {
    this.#onEnd = listener
  }

  start(): void {
    this.#socket.onReadable(() => void this.#work())
  }

  close(error?: unknown): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#socket.close()
    this.#abandon?.()
    this.#onEnd(error)
  }

  /**
   * Resolves when the packet is on its way; rejects when the client has gone. Packets leave in the
   * order of the calls, also when nobody waits for the call before.
   */
  send(packet: Uint8Array): Promise<void> {
    const sent = this.#before.then(() => this.#sendNext(packet))
    this.#before = sent.catch(() => undefined)
    return sent
  }

  /** Only one at a time: the socket has one listener for room. */
  async #sendNext(packet: Uint8Array): Promise<void> {
    while (this.#isOpen && !this.#socket.send(packet)) await this.#room()
    if (!this.#isOpen) throw Object.assign(new Error('the client has gone'), { code: 'EPIPE' })
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#abandon = undefined
        if (this.#isOpen) this.#socket.onWritable(undefined)
        resolve()
      }
      this.#abandon = done
      this.#socket.onWritable(done)
    })
  }

  /** Everything that has arrived, one packet after the other; nobody listens meanwhile. */
  async #work(): Promise<void> {
    this.#socket.onReadable(undefined)
    try {
      for (;;) {
        const packet = this.#socket.receive()
        if (packet === undefined) break
        if (packet.length === 0) return this.close()
        await this.#serve(packet)
        // Others get their turn before the next packet of the same client.
        await new Promise(setImmediate)
        if (!this.#isOpen) return
      }
      this.start()
    } catch (error) {
      this.close(isHangUp(error) ? undefined : error)
    }
  }
}

/** Programs leave as they like: with answers unread, or before these are sent. */
function isHangUp(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException
  return code === 'EPIPE' || code === 'ECONNRESET'
}
