/** The settings of net.ipv4.vs: names, defaults, allowed values (spec 11, 12.9). */
import { failure, success } from './errors.js'
import type { Result } from './errors.js'

type Kind =
  | 'integer'
  | 'unsigned'
  | 'boolean'
  | 'mode3'
  | 'retries'
  | 'version'
  | 'powerOfTwo'
  | 'mss'
  | 'shift'
  | 'ttl'
  | 'count'
  | 'times'
  | 'nice'

/** name -> [default, what it accepts]. Booleans take any integer; non-zero is true. */
const TABLE = {
  amemthresh: [1024, 'integer'],
  am_droprate: [10, 'integer'],
  drop_entry: [0, 'mode3'],
  drop_packet: [0, 'mode3'],
  secure_tcp: [0, 'mode3'],
  conntrack: [0, 'boolean'],
  snat_reroute: [1, 'boolean'],
  sync_version: [1, 'version'],
  sync_ports: [1, 'powerOfTwo'],
  sync_persist_mode: [0, 'boolean'],
  sync_qlen_max: [0, 'unsigned'],
  sync_sock_size: [0, 'integer'],
  sync_refresh_period: [0, 'unsigned'],
  sync_retries: [0, 'retries'],
  cache_bypass: [0, 'boolean'],
  expire_nodest_conn: [0, 'boolean'],
  expire_quiescent_template: [0, 'boolean'],
  sloppy_tcp: [0, 'boolean'],
  sloppy_sctp: [0, 'boolean'],
  nat_icmp_send: [0, 'boolean'],
  pmtu_disc: [1, 'boolean'],
  backup_only: [0, 'boolean'],
  conn_reuse_mode: [1, 'integer'],
  schedule_icmp: [0, 'boolean'],
  ignore_tunneled: [0, 'boolean'],
  run_estimation: [1, 'boolean'],
  debug_level: [0, 'integer'],
  est_nice: [0, 'nice'],
  lblc_expiration: [86400, 'unsigned'],
  lblcr_expiration: [86400, 'unsigned'],
  // SYNPROXY: Alibaba's names; the last one is DPVS'.
  synproxy_init_mss: [1452, 'mss'],
  synproxy_sack: [1, 'boolean'],
  synproxy_wscale: [0, 'shift'],
  synproxy_timestamp: [0, 'boolean'],
  synproxy_synack_ttl: [63, 'ttl'],
  synproxy_defer: [0, 'boolean'],
  synproxy_ack_storm_thresh: [10, 'count'],
  synproxy_ack_skb_store_thresh: [3, 'count'],
  synproxy_syn_retry: [3, 'times'],
  synproxy_conn_reuse: [1, 'boolean'],
  synproxy_conn_reuse_close: [1, 'boolean'],
  synproxy_conn_reuse_time_wait: [1, 'boolean'],
  synproxy_conn_reuse_fin_wait: [0, 'boolean'],
  synproxy_conn_reuse_close_wait: [0, 'boolean'],
  synproxy_conn_reuse_last_ack: [0, 'boolean'],
  synproxy_close_client_window: [0, 'boolean'],
} as const satisfies Record<string, readonly [number, Kind]>

export type ScalarSysctl = keyof typeof TABLE
export type SysctlName = ScalarSysctl | 'sync_threshold' | 'est_cpulist'

export type Sysctls = Readonly<Record<ScalarSysctl, number>> & {
  /** Packets before the first synchronisation, and the period after it. */
  readonly sync_threshold: readonly [number, number]
  /** Processors of the kernel's estimator, such as `0-3,8`; empty: all. */
  readonly est_cpulist: string
}

export const SYSCTL_NAMES: readonly SysctlName[] = [
  ...(Object.keys(TABLE) as ScalarSysctl[]),
  'sync_threshold',
  'est_cpulist',
].sort() as SysctlName[]

/** The settings that something follows; the others are kept and shown, nothing more. */
const FOLLOWED: ReadonlySet<SysctlName> = new Set<SysctlName>([
  'am_droprate',
  'amemthresh',
  'cache_bypass',
  'conn_reuse_mode',
  'drop_entry',
  'drop_packet',
  'expire_nodest_conn',
  'expire_quiescent_template',
  'ignore_tunneled',
  'lblc_expiration',
  'lblcr_expiration',
  'nat_icmp_send',
  'pmtu_disc',
  'run_estimation',
  'schedule_icmp',
  'secure_tcp',
  'sloppy_sctp',
  'sloppy_tcp',
  ...(Object.keys(TABLE) as ScalarSysctl[]).filter((name) => name.startsWith('synproxy_')),
])

/** Settings that differ from `before` and from their default, and that nothing follows. */
export function idleSettings(before: Sysctls, after: Sysctls, defaults: Sysctls): SysctlName[] {
  return SYSCTL_NAMES.filter((name) => {
    const value = String(after[name])
    if (value === String(before[name]) || value === String(defaults[name])) return false
    return !FOLLOWED.has(name)
  })
}

/**
 * Every setting at the kernel's default. That of `sync_qlen_max` is the host's: a part of its
 * memory (host/memory.ts).
 */
export function defaultSysctls(syncQueueMax = 0): Sysctls {
  const scalars = Object.fromEntries(
    Object.entries(TABLE).map(([name, [value]]) => [name, value]),
  ) as Record<ScalarSysctl, number>
  return { ...scalars, sync_qlen_max: syncQueueMax, sync_threshold: [3, 50], est_cpulist: '' }
}

const RANGES: Readonly<Record<Kind, readonly [number, number]>> = {
  integer: [-0x80000000, 0x7fffffff],
  boolean: [-0x80000000, 0x7fffffff],
  unsigned: [0, 0xffffffff],
  mode3: [0, 3],
  retries: [0, 3],
  version: [0, 1],
  powerOfTwo: [1, 0x40000000],
  nice: [-20, 19],
  mss: [64, 65535],
  shift: [0, 14],
  ttl: [1, 255],
  count: [0, 65535],
  times: [0, 255],
}

/** sysctl(8) and /proc/sys write the whole name; here the last part is enough. */
const PREFIX = /^net[./]ipv4[./]vs[./]/

/** The last part of a setting's name, with or without `net.ipv4.vs.` in front of it. */
export function sysctlName(text: string): string {
  return text.trim().replace(PREFIX, '')
}

/** Sets one value from its text; a value outside its range leaves everything unchanged. */
export function setSysctl(sysctls: Sysctls, fullName: string, text: string): Result<Sysctls> {
  const name = sysctlName(fullName)
  if (name === 'sync_threshold') return setThreshold(sysctls, text)
  if (name === 'est_cpulist') return setProcessors(sysctls, text)
  if (!isScalar(name)) {
    return failure(
      'SYSCTL_UNKNOWN',
      `unknown setting "${name}"; known are: ${SYSCTL_NAMES.join(', ')}`,
    )
  }
  const kind: Kind = TABLE[name][1]
  const value = integerOf(text)
  const [low, high] = RANGES[kind]
  const powerOk = kind !== 'powerOfTwo' || (value !== undefined && (value & (value - 1)) === 0)
  if (value === undefined || value < low || value > high || !powerOk) {
    const wanted = kind === 'powerOfTwo' ? 'a power of two' : 'an integer'
    return failure('SYSCTL_VALUE', `${name} takes ${wanted} from ${low} to ${high}, not "${text}"`)
  }
  return success({ ...sysctls, [name]: kind === 'mode3' ? defenceMode(value) : value })
}

/**
 * The automatic modes: 1 waits for memory to run low, 2 acts because it has (defence.ts). Which of
 * them it is is not for a user to say: the kernel corrects it at once.
 */
function defenceMode(value: number): number {
  return value === 2 ? 1 : value
}

function setThreshold(sysctls: Sysctls, text: string): Result<Sysctls> {
  const [first, second] = text
    .trim()
    .split(/[\s,]+/)
    .map(integerOf)
  const good =
    first !== undefined &&
    second !== undefined &&
    first >= 0 &&
    second >= 0 &&
    (first < second || second === 0)
  if (!good) {
    return failure(
      'SYSCTL_VALUE',
      `sync_threshold takes two numbers, the first below the second, not "${text}"`,
    )
  }
  return success({ ...sysctls, sync_threshold: [first, second] })
}

/** A list as the kernel reads it (lib/bitmap.c, bitmap_parselist), without its rarer forms. */
function setProcessors(sysctls: Sysctls, text: string): Result<Sysctls> {
  const list = text.trim()
  if (list !== '' && !/^\d+(-\d+)?(,\d+(-\d+)?)*$/.test(list)) {
    return failure('SYSCTL_VALUE', `est_cpulist takes processors such as 0-3,8, not "${text}"`)
  }
  return success({ ...sysctls, est_cpulist: list })
}

function isScalar(name: string): name is ScalarSysctl {
  return Object.hasOwn(TABLE, name)
}

/**
 * The number a text begins with; the words behind it do not matter. Decimal, or hexadecimal and
 * octal as in C. Kernel: kernel/sysctl.c proc_get_long.
 */
function integerOf(text: string): number | undefined {
  const found = /^\s*(-?)(0x[\da-f]+|0[0-7]*|[1-9]\d*)(\s|$)/i.exec(text)
  if (found === null) return undefined
  const [, sign, digits] = found
  const isOctal = /^0\d/.test(digits)
  const value = isOctal ? parseInt(digits, 8) : Number(digits)
  return sign === '-' ? 0 - value : value
}
