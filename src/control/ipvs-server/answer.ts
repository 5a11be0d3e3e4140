/**
 * What the kernel's IPVS answers to netlink (spec 9.1, 9.2): one request in, answer datagrams out,
 * with the director in place of ip_vs_ctl.c. Checks come in the order of the kernel's
 * genl_family_rcv_msg and ip_vs_genl_*, so that a request with several faults gets the same error.
 */
import type { InfoView, Outcome, ServiceView } from '../api/views.js'
import type { Command } from '../model/commands.js'
import type { Config } from '../model/config.js'
import { ERRORS } from '../model/errors.js'
import type { Result } from '../model/errors.js'
import type { ServiceId } from '../model/service.js'
import {
  CONTROL_COMMAND,
  CONTROL_FAMILY,
  CONTROL_REPLY_VERSION,
  packFamily,
  unpackFamilyRequest,
} from '../netlink/ctrl.js'
import { ERRNO } from '../netlink/errno.js'
import type { WireErrno } from '../netlink/errno.js'
import {
  commandOf,
  IPVS_FAMILY,
  IPVS_VERSION,
  ipvsFamily,
  REPLY_COMMAND,
} from '../netlink/ipvs-attributes.js'
import {
  packDaemonReply,
  packDestinationReply,
  packInfo,
  packServiceReply,
  packTimeouts,
  unpackCommand,
} from '../netlink/ipvs-messages.js'
import type { CommandAttributes } from '../netlink/ipvs-messages.js'
import { destinationViewToWire, serviceViewToWire } from '../netlink/ipvs-model.js'
import {
  isDump,
  MESSAGE_FLAG,
  MESSAGE_TYPE,
  packAck,
  packDone,
  packError,
  packReply,
  unpackGeneric,
} from '../netlink/message.js'
import type { GenericMessage, Message } from '../netlink/message.js'
import { changeOf, knownService } from './change.js'
import type { ChangeName } from './change.js'
import { wireDaemon } from './daemons.js'
import { PRIVATE } from './private-protocol.js'

/** What is asked of the director. */
export interface IpvsDirector {
  readonly config: Config
  execute(commands: readonly Command[]): Promise<Outcome[]>
  services(only?: ServiceId): Result<ServiceView[]>
  info(): InfoView
}

/** IP_VS_VERSION_CODE: 1.2.1. */
export const IPVS_MODULE_VERSION = 0x010201

/**
 * Most bytes in a datagram of a dump: what fits into a page beside the kernel's own bookkeeping
 * (NLMSG_GOODSIZE), so that the smallest buffer a netlink program may use takes it whole.
 */
const DATAGRAM_BYTES_MAX = 3776

/** An errno (0: done), one message, or the messages of a dump. */
type Answer =
  | { readonly errno: number }
  | { readonly message: GenericMessage }
  | { readonly dump: readonly GenericMessage[] }

const refusal = (name: WireErrno): Answer => ({ errno: ERRNO[name] })
const DONE: Answer = { errno: 0 }

/** The errno of an outcome; 0 for success. */
export function errnoOfOutcome(outcome: Outcome | undefined): number {
  if (outcome === undefined) return ERRNO.EIO
  return outcome.ok ? 0 : ERRNO[ERRORS[outcome.code].errno]
}

/** The datagrams that answer one message of a program; none where it did not want to know. */
export async function answerMessage(
  request: Message,
  isPrivileged: boolean,
  director: IpvsDirector,
): Promise<Uint8Array[]> {
  const { port } = request
  const answer = await answerOf(request, isPrivileged, director)
  if ('dump' in answer) return dumpDatagrams(request, answer.dump)
  const errno = 'errno' in answer ? answer.errno : 0
  if (errno !== 0) return [packError(request, port, errno)]
  const reply = 'message' in answer ? [packReply(request, port, answer.message)] : []
  const wantsAck = (request.flags & MESSAGE_FLAG.ack) !== 0
  return wantsAck ? [...reply, packAck(request, port)] : reply
}

/** netlink_rcv_skb: what is no request, or a control message of netlink, is only acknowledged. */
function answerOf(
  request: Message,
  isPrivileged: boolean,
  director: IpvsDirector,
): Answer | Promise<Answer> {
  const { type, flags } = request
  if ((flags & MESSAGE_FLAG.request) === 0 || type < MESSAGE_TYPE.firstFamily) return DONE
  if (type !== CONTROL_FAMILY && type !== PRIVATE.FAMILY_ID) return refusal('ENOENT')
  const message = unpackGeneric(request)
  if (message === undefined) return refusal('EINVAL')
  if (type === CONTROL_FAMILY) return answerControl(request, message)
  return answerIpvs(request, message, isPrivileged, director)
}

/** The controller, as far as programs ask it for the number of our family. */
function answerControl(request: Message, { command, attributes }: GenericMessage): Answer {
  if (command !== CONTROL_COMMAND.getFamily) return refusal('EOPNOTSUPP')
  const family: GenericMessage = {
    command: CONTROL_COMMAND.newFamily,
    version: CONTROL_REPLY_VERSION,
    attributes: packFamily(ipvsFamily(PRIVATE.FAMILY_ID)),
  }
  if (isDump(request)) return { dump: [family] }
  const wanted = unpackFamilyRequest(attributes)
  if (!wanted.ok) return wanted
  const { id, name } = wanted.value
  const isOurs = name === undefined ? id === PRIVATE.FAMILY_ID : name === IPVS_FAMILY
  return isOurs ? { message: family } : refusal('ENOENT')
}

function answerIpvs(
  request: Message,
  { command, attributes }: GenericMessage,
  isPrivileged: boolean,
  director: IpvsDirector,
): Answer | Promise<Answer> {
  const dump = isDump(request)
  const name = commandOf(command, dump)
  if (name === undefined || name === 'setInfo') return refusal('EOPNOTSUPP')
  if (!isPrivileged) return refusal('EPERM')
  const read = unpackCommand(attributes)
  if (name === 'getService' && dump) return { dump: serviceMessages(director) }
  // A dump has nobody to tell what is wrong with its request.
  if (name === 'getDestination') return { dump: read.ok ? destinations(read.value, director) : [] }
  if (name === 'getDaemon') return { dump: daemons(director) }
  if (!read.ok) return read
  switch (name) {
    case 'getService':
      return oneService(read.value, director)
    case 'getConfig':
      return { message: messageOf('getConfig', packTimeouts(director.info().timeouts)) }
    case 'getInfo': {
      const { tableSize } = director.info()
      const info = packInfo({ version: IPVS_MODULE_VERSION, tableSize })
      return { message: messageOf('getInfo', info) }
    }
    default:
      return change(name, read.value, director)
  }
}

async function change(
  name: ChangeName,
  attributes: CommandAttributes,
  director: IpvsDirector,
): Promise<Answer> {
  const command = changeOf(name, attributes, director.config)
  if (!command.ok) return command
  const [outcome] = await director.execute([command.value])
  return { errno: errnoOfOutcome(outcome) }
}

function messageOf(name: keyof typeof REPLY_COMMAND, attributes: Uint8Array): GenericMessage {
  return { command: REPLY_COMMAND[name], version: IPVS_VERSION, attributes }
}

const serviceMessage = (view: ServiceView) =>
  messageOf('getService', packServiceReply(serviceViewToWire(view)))

/** All services in kernel order. */
function serviceMessages(director: IpvsDirector): GenericMessage[] {
  const services = director.services()
  return services.ok ? services.value.map(serviceMessage) : []
}

function oneService(attributes: CommandAttributes, director: IpvsDirector): Answer {
  const service = knownService(attributes.service, director.config)
  if (!service.ok) return service
  const views = director.services(service.value.id)
  return views.ok ? { message: serviceMessage(views.value[0]) } : refusal('ESRCH')
}

function destinations(attributes: CommandAttributes, director: IpvsDirector): GenericMessage[] {
  const service = knownService(attributes.service, director.config)
  const views = service.ok ? director.services(service.value.id) : undefined
  if (views?.ok !== true) return []
  return views.value[0].destinations.map((view) =>
    messageOf('getDestination', packDestinationReply(destinationViewToWire(view))),
  )
}

function daemons(director: IpvsDirector): GenericMessage[] {
  return director
    .info()
    .daemons.map((view) => messageOf('getDaemon', packDaemonReply(wireDaemon(view))))
}

/** The messages of a dump in as few datagrams as hold them; the last one ends with DONE. */
function dumpDatagrams(request: Message, messages: readonly GenericMessage[]): Uint8Array[] {
  const { port } = request
  const datagrams: Uint8Array[] = []
  let parts: Uint8Array[] = []
  let bytes = 0
  const close = () => {
    if (parts.length > 0) datagrams.push(Buffer.concat(parts))
    parts = []
    bytes = 0
  }
  const add = (packed: Uint8Array) => {
    if (bytes + packed.length > DATAGRAM_BYTES_MAX) close()
    parts.push(packed)
    bytes += packed.length
  }
  for (const message of messages) add(packReply(request, port, message, true))
  add(packDone(request, port))
  close()
  return datagrams
}
