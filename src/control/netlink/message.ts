/**
 * Netlink messages (struct nlmsghdr, RFC 3549 2.2) and the generic netlink header in them: building
 * requests and answers, splitting datagrams, acknowledgements, errors and the end of a dump. What
 * the kernel side does: net/netlink/af_netlink.c (netlink_rcv_skb, netlink_ack, netlink_dump).
 */
import { LITTLE_ENDIAN, align4, viewOf } from './attributes.js'
import { ERRNO } from './errno.js'

export const HEADER_BYTES = 16
export const GENERIC_HEADER_BYTES = 4

/** Message types below the families' (NLMSG_*). */
export const MESSAGE_TYPE = { noop: 1, error: 2, done: 3, overrun: 4, firstFamily: 0x10 } as const

/** NLM_F_*. `dump` is two bits, and both must be set; `capped` shares one of them in answers. */
export const MESSAGE_FLAG = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  dump: 0x300,
  capped: 0x100,
} as const

export interface MessageHeader {
  /** MESSAGE_TYPE, or the number of a family. */
  readonly type: number
  readonly flags: number
  readonly sequence: number
  /** Netlink port of the program (0: the kernel). */
  readonly port: number
}

export interface Message extends MessageHeader {
  readonly payload: Uint8Array
  /** Header and payload without padding, as an error echoes them. */
  readonly bytes: Uint8Array
}

export interface GenericMessage {
  readonly command: number
  readonly version: number
  /** The attribute stream after the header. */
  readonly attributes: Uint8Array
}

/** True for a request of a whole table. */
export function isDump(header: MessageHeader): boolean {
  return (header.flags & MESSAGE_FLAG.dump) === MESSAGE_FLAG.dump
}

/** One message, padded to four bytes; its length field does not count the padding. */
export function packMessage(header: MessageHeader, payload: Uint8Array): Uint8Array {
  const length = HEADER_BYTES + payload.length
  const bytes = new Uint8Array(align4(length))
  const view = viewOf(bytes)
  view.setUint32(0, length, LITTLE_ENDIAN)
  view.setUint16(4, header.type, LITTLE_ENDIAN)
  view.setUint16(6, header.flags, LITTLE_ENDIAN)
  view.setUint32(8, header.sequence, LITTLE_ENDIAN)
  view.setUint32(12, header.port, LITTLE_ENDIAN)
  bytes.set(payload, HEADER_BYTES)
  return bytes
}

/** One generic netlink message. */
export function packGeneric(header: MessageHeader, message: GenericMessage): Uint8Array {
  const payload = new Uint8Array(GENERIC_HEADER_BYTES + message.attributes.length)
  payload[0] = message.command
  payload[1] = message.version
  payload.set(message.attributes, GENERIC_HEADER_BYTES)
  return packMessage(header, payload)
}

/** What a request needs besides its attributes. */
export interface RequestHead {
  /** Number of the family. */
  readonly family: number
  readonly command: number
  readonly version: number
  readonly sequence: number
  readonly port: number
}

/** A request that wants an acknowledgement; with `dump`, for the whole table (as libnl: 0x305). */
export function packRequest(head: RequestHead, attributes: Uint8Array, dump = false): Uint8Array {
  const { family: type, command, version, sequence, port } = head
  const wanted = MESSAGE_FLAG.request | MESSAGE_FLAG.ack
  const flags = dump ? wanted | MESSAGE_FLAG.dump : wanted
  return packGeneric({ type, flags, sequence, port }, { command, version, attributes })
}

/** The messages of one datagram; ends where a header or a length does not fit. */
export function splitMessages(datagram: Uint8Array): Message[] {
  const view = viewOf(datagram)
  const messages: Message[] = []
  for (let at = 0; at + HEADER_BYTES <= datagram.length;) {
    const length = view.getUint32(at, LITTLE_ENDIAN)
    if (length < HEADER_BYTES || length > datagram.length - at) break
    messages.push(readMessage(datagram.subarray(at, at + length)))
    at += align4(length)
  }
  return messages
}

function readMessage(bytes: Uint8Array): Message {
  return { ...readHeader(viewOf(bytes), 0), payload: bytes.subarray(HEADER_BYTES), bytes }
}

function readHeader(view: DataView, at: number): MessageHeader {
  return {
    type: view.getUint16(at + 4, LITTLE_ENDIAN),
    flags: view.getUint16(at + 6, LITTLE_ENDIAN),
    sequence: view.getUint32(at + 8, LITTLE_ENDIAN),
    port: view.getUint32(at + 12, LITTLE_ENDIAN),
  }
}

/** The generic header and what follows; undefined (the kernel: EINVAL) where it does not fit. */
export function unpackGeneric(message: Message): GenericMessage | undefined {
  const { payload } = message
  if (payload.length < GENERIC_HEADER_BYTES) return undefined
  const attributes = payload.subarray(GENERIC_HEADER_BYTES)
  return { command: payload[0], version: payload[1], attributes }
}

/**
 * The answer to `request`: errno 0 acknowledges and carries only the request's header (the CAPPED
 * flag says so), any other errno carries the whole request unless the program set NETLINK_CAP_ACK
 * (`capped`). `port` is the one the answer goes to.
 */
export function packError(
  request: Message,
  port: number,
  errno: number,
  capped = false,
): Uint8Array {
  const isShort = errno === 0 || capped
  const echoed = isShort ? request.bytes.subarray(0, HEADER_BYTES) : request.bytes
  const payload = new Uint8Array(4 + echoed.length)
  viewOf(payload).setInt32(0, -errno, LITTLE_ENDIAN)
  payload.set(echoed, 4)
  const flags = isShort ? MESSAGE_FLAG.capped : 0
  return packMessage({ type: MESSAGE_TYPE.error, flags, sequence: request.sequence, port }, payload)
}

/** The acknowledgement of `request`. */
export function packAck(request: Message, port: number): Uint8Array {
  return packError(request, port, 0)
}

/** The end of a dump: DONE with the outcome in four bytes. */
export function packDone(request: MessageHeader, port: number, errno = 0): Uint8Array {
  const payload = new Uint8Array(4)
  viewOf(payload).setInt32(0, -errno, LITTLE_ENDIAN)
  return packMessage(
    { type: MESSAGE_TYPE.done, flags: MESSAGE_FLAG.multi, sequence: request.sequence, port },
    payload,
  )
}

/** One message of an answer: with `multi` part of a dump. */
export function packReply(
  request: MessageHeader,
  port: number,
  message: GenericMessage,
  multi = false,
): Uint8Array {
  const flags = multi ? MESSAGE_FLAG.multi : 0
  return packGeneric({ type: request.type, flags, sequence: request.sequence, port }, message)
}

/**
 * The outcome an ERROR or DONE message carries: 0 or a positive errno; undefined for any other
 * message. A DONE without payload (old kernels) is 0, an ERROR without one is EIO.
 */
export function outcomeOf(message: Message): number | undefined {
  const { type, payload } = message
  if (type !== MESSAGE_TYPE.error && type !== MESSAGE_TYPE.done) return undefined
  if (payload.length < 4) return type === MESSAGE_TYPE.done ? 0 : ERRNO.EIO
  return Math.abs(viewOf(payload).getInt32(0, LITTLE_ENDIAN))
}

/** The header of the request an ERROR message answers; undefined where it carries none. */
export function refusedHeader(message: Message): MessageHeader | undefined {
  const { type, payload } = message
  if (type !== MESSAGE_TYPE.error || payload.length < 4 + HEADER_BYTES) return undefined
  return readHeader(viewOf(payload), 4)
}
