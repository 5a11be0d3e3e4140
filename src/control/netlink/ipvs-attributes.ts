/**
 * Numbers of the generic netlink family IPVS: commands, attributes and what the kernel checks of
 * each attribute before it looks at the values (include/uapi/linux/ip_vs.h; the ip_vs_*_policy
 * tables of net/netfilter/ipvs/ip_vs_ctl.c; spec 9.1).
 */
import type { Policy } from './attributes.js'
import { OPERATION_FLAG } from './ctrl.js'
import type { FamilyDescription } from './ctrl.js'

export const IPVS_FAMILY = 'IPVS'
export const IPVS_VERSION = 1

/** IPVS_CMD_*. Answers have the number of a command: see REPLY_COMMAND. */
export const COMMAND = {
  newService: 1,
  setService: 2,
  deleteService: 3,
  getService: 4,
  newDestination: 5,
  setDestination: 6,
  deleteDestination: 7,
  getDestination: 8,
  newDaemon: 9,
  deleteDaemon: 10,
  getDaemon: 11,
  setConfig: 12,
  getConfig: 13,
  setInfo: 14,
  getInfo: 15,
  zero: 16,
  flush: 17,
} as const

export type CommandName = keyof typeof COMMAND

/** The command number of the messages that answer a get command. */
export const REPLY_COMMAND = {
  getService: COMMAND.newService,
  getDestination: COMMAND.newDestination,
  getDaemon: COMMAND.newDaemon,
  getConfig: COMMAND.setConfig,
  getInfo: COMMAND.setInfo,
} as const satisfies Partial<Record<CommandName, number>>

/** IPVS_CMD_ATTR_*. */
export const COMMAND_ATTR = {
  service: 1,
  destination: 2,
  daemon: 3,
  timeoutTcp: 4,
  timeoutTcpFin: 5,
  timeoutUdp: 6,
} as const

/** IPVS_INFO_ATTR_*, which stand in place of the command attributes. */
export const INFO_ATTR = { version: 1, tableSize: 2 } as const

/** IPVS_SVC_ATTR_*. */
export const SERVICE_ATTR = {
  family: 1,
  protocol: 2,
  address: 3,
  port: 4,
  fwmark: 5,
  scheduler: 6,
  flags: 7,
  timeout: 8,
  netmask: 9,
  stats: 10,
  engine: 11,
  stats64: 12,
} as const

/** IPVS_DEST_ATTR_*. */
export const DESTINATION_ATTR = {
  address: 1,
  port: 2,
  method: 3,
  weight: 4,
  upperThreshold: 5,
  lowerThreshold: 6,
  active: 7,
  inactive: 8,
  persistent: 9,
  stats: 10,
  family: 11,
  stats64: 12,
  tunnelType: 13,
  tunnelPort: 14,
  tunnelFlags: 15,
} as const

/** IPVS_DAEMON_ATTR_*. */
export const DAEMON_ATTR = {
  state: 1,
  interface: 2,
  syncId: 3,
  maxLength: 4,
  group: 5,
  group6: 6,
  port: 7,
  ttl: 8,
} as const

/** IPVS_STATS_ATTR_*, of both STATS and STATS64. */
export const STATS_ATTR = {
  connections: 1,
  inPackets: 2,
  outPackets: 3,
  inBytes: 4,
  outBytes: 5,
  connectionRate: 6,
  inPacketRate: 7,
  outPacketRate: 8,
  inByteRate: 9,
  outByteRate: 10,
} as const

/** union nf_inet_addr. */
export const ADDRESS_BYTES = 16
/** struct ip_vs_flags: flags, mask. */
export const FLAGS_BYTES = 8

/** Longest names in bytes, without NUL. An engine's may fill its 16 bytes. */
export const MAX_NAME = { scheduler: 15, engine: 16, interface: 15 } as const

export const COMMAND_POLICY: Policy = {
  [COMMAND_ATTR.service]: 'nested',
  [COMMAND_ATTR.destination]: 'nested',
  [COMMAND_ATTR.daemon]: 'nested',
  [COMMAND_ATTR.timeoutTcp]: 'u32',
  [COMMAND_ATTR.timeoutTcpFin]: 'u32',
  [COMMAND_ATTR.timeoutUdp]: 'u32',
}

export const INFO_POLICY: Policy = { [INFO_ATTR.version]: 'u32', [INFO_ATTR.tableSize]: 'u32' }

export const SERVICE_POLICY: Policy = {
  [SERVICE_ATTR.family]: 'u16',
  [SERVICE_ATTR.protocol]: 'u16',
  [SERVICE_ATTR.address]: { binary: ADDRESS_BYTES },
  [SERVICE_ATTR.port]: 'u16',
  [SERVICE_ATTR.fwmark]: 'u32',
  [SERVICE_ATTR.scheduler]: { string: MAX_NAME.scheduler },
  [SERVICE_ATTR.flags]: { binary: FLAGS_BYTES },
  [SERVICE_ATTR.timeout]: 'u32',
  [SERVICE_ATTR.netmask]: 'u32',
  [SERVICE_ATTR.stats]: 'nested',
  [SERVICE_ATTR.engine]: { string: MAX_NAME.engine },
  [SERVICE_ATTR.stats64]: { bytes: 0 },
}

export const DESTINATION_POLICY: Policy = {
  [DESTINATION_ATTR.address]: { binary: ADDRESS_BYTES },
  [DESTINATION_ATTR.port]: 'u16',
  [DESTINATION_ATTR.method]: 'u32',
  [DESTINATION_ATTR.weight]: 'u32',
  [DESTINATION_ATTR.upperThreshold]: 'u32',
  [DESTINATION_ATTR.lowerThreshold]: 'u32',
  [DESTINATION_ATTR.active]: 'u32',
  [DESTINATION_ATTR.inactive]: 'u32',
  [DESTINATION_ATTR.persistent]: 'u32',
  [DESTINATION_ATTR.stats]: 'nested',
  [DESTINATION_ATTR.family]: 'u16',
  [DESTINATION_ATTR.stats64]: { bytes: 0 },
  [DESTINATION_ATTR.tunnelType]: 'u8',
  [DESTINATION_ATTR.tunnelPort]: 'u16',
  [DESTINATION_ATTR.tunnelFlags]: 'u16',
}

export const DAEMON_POLICY: Policy = {
  [DAEMON_ATTR.state]: 'u32',
  [DAEMON_ATTR.interface]: { string: MAX_NAME.interface },
  [DAEMON_ATTR.syncId]: 'u32',
  [DAEMON_ATTR.maxLength]: 'u16',
  [DAEMON_ATTR.group]: 'u32',
  [DAEMON_ATTR.group6]: { bytes: ADDRESS_BYTES },
  [DAEMON_ATTR.port]: 'u16',
  [DAEMON_ATTR.ttl]: 'u8',
}

/** Which of the two forms of a request a command has, in the order of the kernel's list. */
const OPERATIONS: readonly (readonly [CommandName, number])[] = [
  ['newService', OPERATION_FLAG.do],
  ['setService', OPERATION_FLAG.do],
  ['deleteService', OPERATION_FLAG.do],
  ['getService', OPERATION_FLAG.do | OPERATION_FLAG.dump],
  ['newDestination', OPERATION_FLAG.do],
  ['setDestination', OPERATION_FLAG.do],
  ['deleteDestination', OPERATION_FLAG.do],
  ['getDestination', OPERATION_FLAG.dump],
  ['newDaemon', OPERATION_FLAG.do],
  ['deleteDaemon', OPERATION_FLAG.do],
  ['getDaemon', OPERATION_FLAG.dump],
  ['setConfig', OPERATION_FLAG.do],
  ['getConfig', OPERATION_FLAG.do],
  ['getInfo', OPERATION_FLAG.do],
  ['zero', OPERATION_FLAG.do],
  ['flush', OPERATION_FLAG.do],
]

/** What the controller tells about the family once it has number `id`. */
export function ipvsFamily(id: number): FamilyDescription {
  const always = OPERATION_FLAG.admin | OPERATION_FLAG.policy
  return {
    id,
    name: IPVS_FAMILY,
    version: IPVS_VERSION,
    headerSize: 0,
    maxAttribute: COMMAND_ATTR.timeoutUdp,
    operations: OPERATIONS.map(([name, forms]) => ({ id: COMMAND[name], flags: forms | always })),
  }
}

/** The command of a request; undefined (EOPNOTSUPP) where the number or its form is not offered. */
export function commandOf(number: number, dump: boolean): CommandName | undefined {
  const form = dump ? OPERATION_FLAG.dump : OPERATION_FLAG.do
  return OPERATIONS.find(([name, forms]) => COMMAND[name] === number && (forms & form) !== 0)?.[0]
}
