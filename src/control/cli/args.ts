/**
 * argv -> what to do. Follows ipvsadm 1.31 step by step, because which of several mistakes is
 * reported depends on the order: options left to right, surplus arguments, scheduler flags, the
 * validity matrix, then the rules about values.
 */
import type { Timeouts } from '../model/config.js'
import type { PublicCommand } from '../model/commands.js'
import { IPVSADM_EXIT } from '../model/errors.js'
import { markServiceId } from '../model/service.js'
import type { ServiceId } from '../model/service.js'
import type { DaemonOptions, DaemonRole } from '../model/sync-daemon.js'
import { emptyDraft, TIMEOUT_MAX_SEC } from './draft.js'
import type { Draft } from './draft.js'
import { wholeNumber } from './endpoint.js'
import { findOption, groupOf, isCommand, matrixProblem } from './options.js'
import type { CommandName, MatrixOption, OptionName } from './options.js'
import { applyOption } from './option-values.js'
import { readOptions, SyntaxProblem } from './popt.js'
import type { MetOption, PoptReader } from './popt.js'
import type { Resolver } from './resolver.js'
import { schedulerFlags, serviceProblem, tunnelProblem } from './rules.js'

/** A mistake on the line: the text for stderr, the exit status, and whether it ends a restore. */
export class UsageProblem extends Error {
  readonly exitCode: number
  readonly fatal: boolean

  constructor(message: string, exitCode: number = IPVSADM_EXIT.USAGE, fatal = true) {
    super(message)
    this.exitCode = exitCode
    this.fatal = fatal
  }
}

export interface ListRequest {
  readonly given: ReadonlySet<MatrixOption>
  readonly service: ServiceId | undefined
}

/** One understood line. */
export type Parsed =
  | { readonly kind: 'change'; readonly command: CommandName; readonly change: PublicCommand }
  | ({ readonly kind: 'list' | 'save' | 'localAddresses' } & ListRequest)
  | { readonly kind: 'restore' | 'help' | 'version' }

const TRY_HELP = (program: string) =>
  `Try \`${program} -h' or '${program} --help' for more information.`

/** Understands one command line; throws UsageProblem. */
export async function parseLine(
  argv: readonly string[],
  program: string,
  resolver: Resolver,
): Promise<Parsed> {
  let found: CommandName | undefined = undefined
  const reader = readOptions<CommandName | OptionName>(argv, (s) => findOption(found, s))
  const first = readFirst(reader)
  if (first === undefined || !isCommand(first.name)) {
    throw new UsageProblem(TRY_HELP(program), IPVSADM_EXIT.SYNTAX)
  }
  const command = first.name
  found = command
  if (command === 'help' || command === 'version') return { kind: command }
  const draft = emptyDraft()
  if (command === 'start-daemon' || command === 'stop-daemon') {
    draft.daemonRole = roleOf(command, first.value)
  }
  await readRest(reader, draft, resolver)
  return conclude(command, draft, [...reader.leftover])
}

function readFirst(
  reader: PoptReader<CommandName | OptionName>,
): MetOption<CommandName | OptionName> | undefined {
  try {
    return reader.next()
  } catch (error) {
    if (error instanceof SyntaxProblem) return undefined
    throw error
  }
}

function roleOf(command: 'start-daemon' | 'stop-daemon', role: string | undefined): DaemonRole {
  if (role === 'master' || role === 'backup') return role
  const what = command === 'start-daemon' ? 'start-daemon parameter' : 'start_daemon'
  throw new UsageProblem(`illegal ${what} specified`)
}

async function readRest(
  reader: PoptReader<CommandName | OptionName>,
  draft: Draft,
  resolver: Resolver,
): Promise<void> {
  try {
    for (let met = reader.next(); met !== undefined; met = reader.next()) {
      if (isCommand(met.name)) throw new UsageProblem(`invalid option \`${met.spelled}'`)
      const group = groupOf(met.name)
      if (group !== undefined) {
        if (draft.given.has(group)) {
          throw new UsageProblem(`multiple '${group}' options specified`)
        }
        draft.given.add(group)
      }
      const problem = await applyOption(draft, met.name, met.value, resolver)
      if (problem !== undefined) throw new UsageProblem(problem)
    }
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error
    throw new UsageProblem(error.message, IPVSADM_EXIT.SYNTAX, false)
  }
}

/** The checks and defaults after all options are read. */
function conclude(command: CommandName, draft: Draft, leftover: string[]): Parsed {
  const timeouts = command === 'set' ? takeTimeouts(leftover) : undefined
  if (leftover.length > 0) throw new UsageProblem(`unexpected argument ${leftover[0]}`)
  const flags = schedulerFlags(draft.schedulerFlagText, draft.scheduler || DEFAULT_SCHEDULER)
  if (typeof flags === 'string') throw new UsageProblem(flags)
  const problem = matrixProblem(command, draft.given)
  if (problem !== undefined) throw new UsageProblem(problem)
  switch (command) {
    case 'add-service':
    case 'edit-service':
      return serviceChange(command, draft, flags)
    case 'add-server':
    case 'edit-server':
      return destinationChange(command, draft)
    case 'list':
      return listRequest(draft)
    case 'restore':
    case 'help':
    case 'version':
      return { kind: command }
    case 'save':
      return { kind: 'save', given: draft.given, service: undefined }
    case 'get-laddr':
      return { kind: 'localAddresses', given: draft.given, service: serviceIn(draft) }
    default:
      return { kind: 'change', command, change: plainChange(command, draft, timeouts) }
  }
}

const DEFAULT_SCHEDULER = 'wlc'

function takeTimeouts(leftover: string[]): Timeouts {
  const texts = leftover.splice(0, 3)
  if (texts.length < 3) throw new UsageProblem('--set option requires 3 timeout values')
  const [tcpSec, tcpFinSec, udpSec] = texts.map((text) => {
    const value = wholeNumber(text, 0, TIMEOUT_MAX_SEC)
    if (value === undefined) throw new UsageProblem(`invalid timeout value \`${text}' specified`)
    return value
  })
  return { tcpSec, tcpFinSec, udpSec }
}

function serviceIn(draft: Draft): ServiceId | undefined {
  return draft.given.has('service-address') ? serviceOf(draft) : undefined
}

function serviceOf(draft: Draft): ServiceId {
  if (draft.fwmark !== 0) return markServiceId(draft.fwmark, draft.family)
  const { protocol = 'tcp', address, port } = draft
  return { protocol, address, port, fwmark: 0 }
}

function serviceChange(
  command: 'add-service' | 'edit-service',
  draft: Draft,
  schedFlags: number,
): Parsed {
  const problem = serviceProblem(draft)
  if (problem !== undefined) throw new UsageProblem(problem)
  const { flags, persistentSec } = persistence(draft)
  const options = {
    scheduler: draft.scheduler || DEFAULT_SCHEDULER,
    flags: flags | schedFlags,
    persistentSec,
    netmask: draft.netmask,
    engine: draft.engine,
    proxyProtocol: draft.proxyProtocol,
  }
  const kind = command === 'add-service' ? 'addService' : 'editService'
  return { kind: 'change', command, change: { kind, service: serviceOf(draft), options } }
}

function persistence(draft: Draft): { flags: number; persistentSec: number } {
  const persistent = draft.persistentSec !== undefined ? 0x1 : 0
  const onePacket = draft.onePacket ? 0x4 : 0
  const synproxy = draft.synproxy ? 0x8000 : 0
  return { flags: persistent | onePacket | synproxy, persistentSec: draft.persistentSec ?? 0 }
}

function destinationChange(command: 'add-server' | 'edit-server', draft: Draft): Parsed {
  const problem = tunnelProblem(draft)
  if (problem !== undefined) throw new UsageProblem(problem)
  // Packets that keep their destination port can only go to the port of the service.
  const followsService =
    draft.fwmark === 0 && (draft.method === 'direct' || draft.method === 'tunnel')
  const kind = command === 'add-server' ? 'addDestination' : 'editDestination'
  const change: PublicCommand = {
    kind,
    service: serviceOf(draft),
    destination: {
      address: draft.destinationAddress,
      port: followsService ? draft.port : draft.destinationPort,
    },
    options: {
      method: draft.method,
      weight: draft.weight,
      upperThreshold: draft.upperThreshold,
      lowerThreshold: draft.lowerThreshold,
      tunnel: {
        type: draft.tunnelType,
        port: draft.tunnelPort,
        checksum: draft.tunnelChecksum,
      },
    },
  }
  return { kind: 'change', command, change }
}

function listRequest(draft: Draft): Parsed {
  const { given } = draft
  const alone = given.has('connection') || given.has('timeout') || given.has('daemon')
  const table = given.has('stats') || given.has('rate') || given.has('thresholds')
  const persistent = given.has('persistent-conn') && !given.has('connection')
  if (alone && (table || persistent)) {
    throw new UsageProblem('options conflicts in the list command')
  }
  return { kind: 'list', given, service: serviceIn(draft) }
}

/** Commands whose record is complete with an identity. */
function plainChange(
  command: CommandName,
  draft: Draft,
  timeouts: Timeouts | undefined,
): PublicCommand {
  const service = serviceOf(draft)
  switch (command) {
    case 'delete-service':
      return { kind: 'deleteService', service }
    case 'delete-server': {
      const destination = { address: draft.destinationAddress, port: draft.destinationPort }
      return { kind: 'deleteDestination', service, destination }
    }
    case 'zero':
      return draft.given.has('service-address') ? { kind: 'zero', service } : { kind: 'zero' }
    case 'set':
      return { kind: 'setTimeouts', timeouts: timeouts ?? { tcpSec: 0, tcpFinSec: 0, udpSec: 0 } }
    case 'start-daemon':
      return { kind: 'startDaemon', daemon: daemonIn(draft) }
    case 'stop-daemon':
      return { kind: 'stopDaemon', role: draft.daemonRole }
    case 'add-laddr':
      return { kind: 'addLocalAddress', service, address: draft.localAddress }
    case 'del-laddr':
      return { kind: 'deleteLocalAddress', service, address: draft.localAddress }
    default:
      return { kind: 'flush' }
  }
}

function daemonIn(draft: Draft): DaemonOptions {
  return {
    role: draft.daemonRole,
    interface: draft.syncInterface,
    syncId: draft.syncId,
    maxLength: draft.syncMaxLength,
    group: draft.syncGroup,
    port: draft.syncPort,
    ttl: draft.syncTtl,
  }
}
