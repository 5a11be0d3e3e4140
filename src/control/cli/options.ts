/**
 * The commands and options of ipvsadm: spelling, order, and which option goes with which command
 * (spec 10.1, 10.2, 10.4). The FULLNAT additions follow Alibaba's and DPVS' spelling.
 */
import type { OptionSyntax } from './popt.js'

/** command -> [short, long, value]; the key is the name used in messages. */
const COMMANDS = {
  'add-service': ['A', 'add-service'],
  'edit-service': ['E', 'edit-service'],
  'delete-service': ['D', 'delete-service'],
  flush: ['C', 'clear'],
  restore: ['R', 'restore'],
  save: ['S', 'save'],
  'add-server': ['a', 'add-server'],
  'edit-server': ['e', 'edit-server'],
  'delete-server': ['d', 'delete-server'],
  list: ['L', 'list'],
  zero: ['Z', 'zero'],
  set: [undefined, 'set'],
  'start-daemon': [undefined, 'start-daemon'],
  'stop-daemon': [undefined, 'stop-daemon'],
  help: ['h', 'help'],
  version: ['v', 'version'],
  'add-laddr': ['P', 'add-laddr'],
  'del-laddr': ['Q', 'del-laddr'],
  'get-laddr': ['G', 'get-laddr'],
} as const

export type CommandName = keyof typeof COMMANDS

/**
 * Options that the validity matrix knows, in the order in which the tool checks them. Several
 * spellings may share one name: giving two of them is "multiple ... options".
 */
export const MATRIX_OPTIONS = [
  'numeric',
  'connection',
  'service-address',
  'scheduler',
  'persistent',
  'netmask',
  'real-server',
  'forwarding-method',
  'weight',
  'u-threshold',
  'l-threshold',
  'mcast-interface',
  'timeout',
  'daemon',
  'stats',
  'rate',
  'thresholds',
  'persistent-conn',
  'nosort',
  'syncid',
  'exact',
  'ops',
  'pe',
  'sched-flags',
  'mcast-group',
  'mcast-port',
  'mcast-ttl',
  'sync-maxlen',
  'tun-info',
  'tun-type',
  'tun-port',
  'tun-nocsum',
  'tun-csum',
  'tun-remcsum',
  'local-address',
  'synproxy',
  'proxy-protocol',
  'json',
] as const

export type MatrixOption = (typeof MATRIX_OPTIONS)[number]

/** How an option is spelled; `group` is its row in the matrix, absent for the free ones. */
interface OptionRow extends Omit<OptionSyntax<string>, 'name'> {
  readonly group?: MatrixOption
}

const OPTIONS = {
  'tcp-service': { short: 't', long: 'tcp-service', value: 'required', group: 'service-address' },
  'udp-service': { short: 'u', long: 'udp-service', value: 'required', group: 'service-address' },
  'sctp-service': { long: 'sctp-service', value: 'required', group: 'service-address' },
  'fwmark-service': {
    short: 'f',
    long: 'fwmark-service',
    value: 'required',
    group: 'service-address',
  },
  ipv6: { short: '6', long: 'ipv6', value: 'none' },
  scheduler: { short: 's', long: 'scheduler', value: 'required', group: 'scheduler' },
  persistent: { short: 'p', long: 'persistent', value: 'optional', group: 'persistent' },
  netmask: { short: 'M', long: 'netmask', value: 'required', group: 'netmask' },
  'real-server': { short: 'r', long: 'real-server', value: 'required', group: 'real-server' },
  gatewaying: { short: 'g', long: 'gatewaying', value: 'none', group: 'forwarding-method' },
  ipip: { short: 'i', long: 'ipip', value: 'none', group: 'forwarding-method' },
  masquerading: { short: 'm', long: 'masquerading', value: 'none', group: 'forwarding-method' },
  fullnat: { long: 'fullnat', value: 'none', group: 'forwarding-method' },
  weight: { short: 'w', long: 'weight', value: 'required', group: 'weight' },
  'u-threshold': { short: 'x', long: 'u-threshold', value: 'required', group: 'u-threshold' },
  'l-threshold': { short: 'y', long: 'l-threshold', value: 'required', group: 'l-threshold' },
  numeric: { short: 'n', long: 'numeric', value: 'none', group: 'numeric' },
  connection: { short: 'c', long: 'connection', value: 'none', group: 'connection' },
  'mcast-interface': { long: 'mcast-interface', value: 'required', group: 'mcast-interface' },
  'mcast-group': { long: 'mcast-group', value: 'required', group: 'mcast-group' },
  'mcast-port': { long: 'mcast-port', value: 'required', group: 'mcast-port' },
  'mcast-ttl': { long: 'mcast-ttl', value: 'required', group: 'mcast-ttl' },
  syncid: { long: 'syncid', value: 'required', group: 'syncid' },
  'sync-maxlen': { long: 'sync-maxlen', value: 'required', group: 'sync-maxlen' },
  timeout: { long: 'timeout', value: 'none', group: 'timeout' },
  daemon: { long: 'daemon', value: 'none', group: 'daemon' },
  stats: { long: 'stats', value: 'none', group: 'stats' },
  rate: { long: 'rate', value: 'none', group: 'rate' },
  thresholds: { long: 'thresholds', value: 'none', group: 'thresholds' },
  'persistent-conn': { long: 'persistent-conn', value: 'none', group: 'persistent-conn' },
  nosort: { long: 'nosort', value: 'none', group: 'nosort' },
  sort: { long: 'sort', value: 'none' },
  exact: { short: 'X', long: 'exact', value: 'none', group: 'exact' },
  ops: { short: 'o', long: 'ops', value: 'none', group: 'ops' },
  pe: { long: 'pe', value: 'required', group: 'pe' },
  'sched-flags': { short: 'b', long: 'sched-flags', value: 'required', group: 'sched-flags' },
  'tun-info': { long: 'tun-info', value: 'none', group: 'tun-info' },
  'tun-type': { long: 'tun-type', value: 'required', group: 'tun-type' },
  'tun-port': { long: 'tun-port', value: 'required', group: 'tun-port' },
  'tun-nocsum': { long: 'tun-nocsum', value: 'none', group: 'tun-nocsum' },
  'tun-csum': { long: 'tun-csum', value: 'none', group: 'tun-csum' },
  'tun-remcsum': { long: 'tun-remcsum', value: 'none', group: 'tun-remcsum' },
  'local-address': { short: 'z', long: 'local-address', value: 'required', group: 'local-address' },
  synproxy: { short: 'j', long: 'synproxy', value: 'required', group: 'synproxy' },
  'proxy-protocol': { long: 'proxy-protocol', value: 'required', group: 'proxy-protocol' },
  json: { long: 'json', value: 'none', group: 'json' },
} as const satisfies Record<string, OptionRow>

export type OptionName = keyof typeof OPTIONS

/** The matrix row of an option; undefined for -6 and --sort, which may be repeated. */
export function groupOf(name: OptionName): MatrixOption | undefined {
  const row: OptionRow = OPTIONS[name]
  return row.group
}

const DAEMON_COMMANDS: readonly string[] = ['start-daemon', 'stop-daemon']

function commandSyntax(name: CommandName): OptionSyntax<CommandName> {
  const [short, long] = COMMANDS[name]
  const value = DAEMON_COMMANDS.includes(name) ? 'required' : 'none'
  return { name, long, value, ...(short === undefined ? {} : { short }) }
}

const BY_SHORT = new Map<string, OptionSyntax<CommandName | OptionName>>()
const BY_LONG = new Map<string, OptionSyntax<CommandName | OptionName>>()
for (const syntax of [
  ...(Object.keys(COMMANDS) as CommandName[]).map(commandSyntax),
  ...(Object.keys(OPTIONS) as OptionName[]).map((name) => {
    const row: OptionRow = OPTIONS[name]
    return { ...row, name }
  }),
]) {
  if (syntax.short !== undefined) BY_SHORT.set(syntax.short, syntax)
  BY_LONG.set(syntax.long, syntax)
}
BY_SHORT.set('l', commandSyntax('list'))

/** -b: scheduler flags on services, FULLNAT on destinations. */
export function findOption(
  command: CommandName | undefined,
  spelling: { short: string } | { long: string },
): OptionSyntax<CommandName | OptionName> | undefined {
  if ('long' in spelling) return BY_LONG.get(spelling.long)
  if (spelling.short === 'b' && (command === 'add-server' || command === 'edit-server')) {
    return BY_LONG.get('fullnat')
  }
  return BY_SHORT.get(spelling.short)
}

/** True for the name of a command, false for that of an option. */
export function isCommand(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name)
}

/** `+` required, `1` at most one of the group, `.` allowed; what is not listed is an error. */
type Mark = '+' | '1' | '.'
type Row = Partial<Record<MatrixOption, Mark>>

function row(marks: Partial<Record<Mark, string>>): Row {
  const result: Record<string, Mark> = {}
  for (const [mark, names] of Object.entries(marks)) {
    for (const name of names.split(' ')) result[name] = mark as Mark
  }
  return result
}

const SERVICE_ROW = row({
  '+': 'service-address',
  '.': 'scheduler persistent netmask ops pe sched-flags synproxy proxy-protocol',
})
const DESTINATION_ROW = row({
  '+': 'service-address real-server',
  '.':
    'forwarding-method weight u-threshold l-threshold tun-type tun-port tun-nocsum tun-csum ' +
    'tun-remcsum',
})
const LOCAL_ADDRESS_ROW = row({ '+': 'service-address local-address' })

const MATRIX: Readonly<Record<CommandName, Row>> = {
  'add-service': SERVICE_ROW,
  'edit-service': SERVICE_ROW,
  'delete-service': row({ '+': 'service-address' }),
  flush: {},
  restore: {},
  save: row({ '.': 'numeric' }),
  'add-server': DESTINATION_ROW,
  'edit-server': DESTINATION_ROW,
  'delete-server': row({ '+': 'service-address real-server' }),
  list: row({
    '1': 'connection service-address timeout daemon',
    '.': 'numeric stats rate thresholds persistent-conn nosort syncid exact tun-info json',
  }),
  zero: row({ '.': 'service-address' }),
  set: {},
  'start-daemon': row({
    '.': 'mcast-interface syncid mcast-group mcast-port mcast-ttl sync-maxlen',
  }),
  'stop-daemon': row({ '.': 'syncid' }),
  help: {},
  version: {},
  'add-laddr': LOCAL_ADDRESS_ROW,
  'del-laddr': LOCAL_ADDRESS_ROW,
  'get-laddr': row({ '.': 'service-address json numeric' }),
}

/** The message for the first option that does not go with the command; undefined when all do. */
export function matrixProblem(
  command: CommandName,
  given: ReadonlySet<MatrixOption>,
): string | undefined {
  let exclusive: MatrixOption | undefined
  for (const option of MATRIX_OPTIONS) {
    const mark = MATRIX[command][option]
    if (!given.has(option)) {
      if (mark !== '+') continue
      return `You need to supply the '${option}' option for the '${command}' command`
    }
    if (mark === undefined) return `Illegal '${option}' option with the '${command}' command`
    if (mark !== '1') continue
    if (exclusive !== undefined) {
      return (
        `The option '${option}' conflicts with the '${exclusive}' option in the ` +
        `'${command}' command`
      )
    }
    exclusive = option
  }
  return undefined
}
