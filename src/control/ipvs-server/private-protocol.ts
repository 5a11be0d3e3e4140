/**
 * What the preload library (native/shim/ipvs_shim.c) and the director say to each other on the IPVS
 * socket beside netlink messages. The socket is SOCK_SEQPACKET at the control socket's path with
 * `.ipvs` appended. Whoever connects is known by its credentials; one connection carries either
 *
 *   netlink   each packet is what the program gave to sendmsg() - one or more messages to the
 *             controller or to family FAMILY_ID; each packet back is one netlink datagram;
 *   private   one request of a type below NLMSG_MIN_TYPE, in a netlink header, and its answer:
 *
 *     SET_OPTION   u32 option, then the value      -> REPLY
 *     GET_OPTION   u32 option, u32 length of the program's buffer, then at most
 *                  OPTION_INPUT_MAX bytes of it    -> REPLY, and where it is good DATA...
 *     READ_FILE    path, without NUL               -> REPLY, and where it is good DATA...
 *
 *     REPLY        i32: 0 or a positive errno
 *     DATA         at most DATA_MAX bytes; one without any ends the answer
 *
 * Numbers are in the byte order of the machine, as in netlink. The library has the same constants;
 * test/control/ipvs-server/private-protocol.test.ts compares them.
 */
import { LITTLE_ENDIAN, viewOf } from '../netlink/attributes.js'
import { HEADER_BYTES, packMessage } from '../netlink/message.js'
import type { Message } from '../netlink/message.js'

export const PRIVATE = {
  FAMILY_ID: 1020,
  SET_OPTION: 8,
  GET_OPTION: 9,
  READ_FILE: 10,
  REPLY: 11,
  DATA: 12,
  OPTION_INPUT_MAX: 128,
  DATA_MAX: 32768,
} as const

/** The IPVS socket of a director with this control socket. */
export function ipvsSocketPath(controlSocket: string): string {
  return `${controlSocket}.ipvs`
}

export type PrivateRequest =
  | { readonly kind: 'setOption'; readonly option: number; readonly value: Uint8Array }
  | {
      readonly kind: 'getOption'
      readonly option: number
      readonly length: number
      readonly input: Uint8Array
    }
  | { readonly kind: 'readFile'; readonly path: string }

/** The request in a message; undefined for netlink's own types and for what is too short. */
export function readPrivateRequest({ type, payload }: Message): PrivateRequest | undefined {
  const view = viewOf(payload)
  if (type === PRIVATE.SET_OPTION && payload.length >= 4) {
    const option = view.getUint32(0, LITTLE_ENDIAN)
    return { kind: 'setOption', option, value: payload.subarray(4) }
  }
  if (type === PRIVATE.GET_OPTION && payload.length >= 8) {
    const option = view.getUint32(0, LITTLE_ENDIAN)
    const length = view.getUint32(4, LITTLE_ENDIAN)
    return { kind: 'getOption', option, length, input: payload.subarray(8) }
  }
  if (type === PRIVATE.READ_FILE) {
    return { kind: 'readFile', path: new TextDecoder().decode(payload) }
  }
  return undefined
}

function privateMessage(type: number, payload: Uint8Array): Uint8Array {
  return packMessage({ type, flags: 0, sequence: 0, port: 0 }, payload)
}

/** The verdict on a request: 0 or a positive errno. */
export function packReply(errno: number): Uint8Array {
  const payload = new Uint8Array(4)
  viewOf(payload).setInt32(0, errno, LITTLE_ENDIAN)
  return privateMessage(PRIVATE.REPLY, payload)
}

/** `data` in as many packets as it needs. Not padded: a packet ends where its data does. */
export function* packData(data: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < data.length; at += PRIVATE.DATA_MAX) {
    const part = data.subarray(at, at + PRIVATE.DATA_MAX)
    yield privateMessage(PRIVATE.DATA, part).subarray(0, HEADER_BYTES + part.length)
  }
}

/** What ends the data of an answer. */
export function packEnd(): Uint8Array {
  return privateMessage(PRIVATE.DATA, new Uint8Array())
}
