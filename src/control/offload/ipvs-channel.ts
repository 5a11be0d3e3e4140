/**
 * Requests to the kernel's IPVS over generic netlink, one after the other. Everything happens
 * within the calls: the kernel carries a request out while it is sent, and makes the next part of a
 * listing while the one before is received (net/netlink/af_netlink.c), so there is nothing to wait
 * for and no second request can come in between.
 */
import { openRawSocket } from '../../dataplane/native.js'
import type { NativeRawSocket } from '../../dataplane/native.js'
import { ControlError } from '../model/errors.js'
import {
  CONTROL_COMMAND,
  CONTROL_FAMILY,
  CONTROL_VERSION,
  packFamilyRequest,
  unpackFamily,
} from '../netlink/ctrl.js'
import { ERRNO, errnoName } from '../netlink/errno.js'
import { COMMAND, IPVS_FAMILY, IPVS_VERSION } from '../netlink/ipvs-attributes.js'
import type { CommandName } from '../netlink/ipvs-attributes.js'
import { MESSAGE_TYPE, outcomeOf, packRequest, splitMessages } from '../netlink/message.js'
import { unpackGeneric } from '../netlink/message.js'

const NETLINK_GENERIC = 16

/** The kernel refused a request with this error number. */
export class KernelRefusal extends Error {
  readonly errno: number

  constructor(errno: number) {
    super(errnoName(errno) ?? `errno ${errno}`)
    this.errno = errno
  }
}

/** See the top of this file. */
export class IpvsChannel {
  readonly #socket: NativeRawSocket
  readonly #family: number
  #sequence = 0

  private constructor(socket: NativeRawSocket, family: number) {
    this.#socket = socket
    this.#family = family
  }

  /** Undefined where the kernel has no IPVS; asking makes it load its module, where it can. */
  static open(): IpvsChannel | undefined {
    const socket = openRawSocket({ kind: 'netlink', protocol: NETLINK_GENERIC })
    const version = CONTROL_VERSION
    const command = CONTROL_COMMAND.getFamily
    try {
      const asking = { family: CONTROL_FAMILY, command, version, sequence: 1, port: 0 }
      const request = packRequest(asking, packFamilyRequest({ name: IPVS_FAMILY }))
      const [answer] = exchange(socket, request, 1)
      const family = unpackFamily(answer)
      if (!family.ok) throw broken('its description of the family IPVS')
      const channel = new IpvsChannel(socket, family.value.id)
      channel.#sequence = 1
      return channel
    } catch (error) {
      socket.close()
      if (error instanceof KernelRefusal && error.errno === ERRNO.ENOENT) return undefined
      throw error
    }
  }

  /**
   * Attributes of every message that answers; with `dump` a whole table. Throws KernelRefusal with
   * the kernel's error number.
   */
  ask(name: CommandName, attributes: Uint8Array, dump = false): Uint8Array[] {
    const sequence = ++this.#sequence
    const command = COMMAND[name]
    const head = { family: this.#family, command, version: IPVS_VERSION, sequence, port: 0 }
    return exchange(this.#socket, packRequest(head, attributes, dump), sequence)
  }

  close(): void {
    this.#socket.close()
  }
}

/** Sends one request and collects what answers it up to its acknowledgement or end. */
function exchange(socket: NativeRawSocket, request: Uint8Array, sequence: number): Uint8Array[] {
  const answers: Uint8Array[] = []
  if (!socket.send(request)) throw broken('no room for a request')
  for (;;) {
    const datagram = socket.receive()
    if (datagram === undefined) throw broken('no answer to a request')
    for (const message of splitMessages(datagram)) {
      if (message.sequence !== sequence) continue // the rest of an exchange that failed
      const outcome = outcomeOf(message)
      if (outcome !== undefined && outcome !== 0) throw new KernelRefusal(outcome)
      if (outcome === 0) return answers
      if (message.type < MESSAGE_TYPE.firstFamily) continue
      const generic = unpackGeneric(message)
      if (generic === undefined) throw broken('a message without its header')
      answers.push(generic.attributes)
    }
  }
}

/** The kernel said something that it never says. */
export function broken(what: string): ControlError {
  return new ControlError('KERNEL_REFUSED', `the kernel's IPVS gave ${what}: report this`)
}
