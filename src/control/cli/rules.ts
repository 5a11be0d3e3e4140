/** Rules about the values of one line, beyond the validity matrix (spec 10.2, 10.4). Pure. */
import type { Draft } from './draft.js'
import type { MatrixOption } from './options.js'

/** flag -> bit and the scheduler it needs. */
const FLAGS: Readonly<Record<string, { bit: number; scheduler?: string }>> = {
  'flag-1': { bit: 0x8 },
  'flag-2': { bit: 0x10 },
  'flag-3': { bit: 0x20 },
  'sh-fallback': { bit: 0x8, scheduler: 'sh' },
  'sh-port': { bit: 0x10, scheduler: 'sh' },
  'mh-fallback': { bit: 0x8, scheduler: 'mh' },
  'mh-port': { bit: 0x10, scheduler: 'mh' },
}

/** The service flag bits of a comma list, or the message about its first mistake. */
export function schedulerFlags(text: string, scheduler: string): number | string {
  let bits = 0
  for (const name of text.split(',')) {
    if (name === '') continue
    if (!Object.hasOwn(FLAGS, name)) return `invalid scheduler flag \`${name}'`
    const flag = FLAGS[name]
    if (flag.scheduler !== undefined && flag.scheduler !== scheduler) {
      return `incompatible scheduler flag \`${name}'`
    }
    bits |= flag.bit
  }
  return bits
}

/** Names of the flags set, for listings: the two of sh and mh, otherwise flag-1 to flag-3. */
export function schedulerFlagNames(bits: number, scheduler: string): string[] {
  const own = Object.entries(FLAGS).filter(([, flag]) => flag.scheduler === scheduler)
  const named = own.length > 0 ? own : Object.entries(FLAGS).filter(([, f]) => !f.scheduler)
  return named.filter(([, flag]) => bits & flag.bit).map(([name]) => name)
}

/** For -A and -E. */
export function serviceProblem(draft: Draft): string | undefined {
  if (draft.fwmark === 0 && draft.port === 0 && draft.persistentSec === undefined) {
    return 'Zero port specified for non-persistent service'
  }
  if (draft.onePacket && draft.fwmark === 0 && draft.protocol !== 'udp') {
    return 'One-Packet Scheduling is only for UDP virtual services'
  }
  if (draft.synproxy && draft.fwmark === 0 && draft.protocol !== 'tcp') {
    return 'SYNPROXY is only for TCP virtual services'
  }
  return undefined
}

const TUNNEL_OPTIONS = ['tun-type', 'tun-port', 'tun-nocsum', 'tun-csum', 'tun-remcsum'] as const

type TunnelOption = (typeof TUNNEL_OPTIONS)[number]

/** As the big matrix: `+` required, `1` at most one, absent illegal. */
const TUNNEL_MATRIX: Readonly<Record<string, Partial<Record<TunnelOption, '+' | '1' | '.'>>>> = {
  ipip: { 'tun-type': '.' },
  gue: {
    'tun-type': '.',
    'tun-port': '+',
    'tun-nocsum': '1',
    'tun-csum': '1',
    'tun-remcsum': '1',
  },
  gre: { 'tun-type': '.', 'tun-nocsum': '1', 'tun-csum': '1' },
}

/** For -a and -e: family and tunnel options. */
export function tunnelProblem(draft: Draft): string | undefined {
  const mixed = draft.destinationAddress.family !== draft.family
  // FULLNAT translates IPv6 to IPv4 (spec 12.1), which the tool does not know.
  const nat64 = draft.method === 'fullnat' && draft.family === 6
  if (mixed && draft.method !== 'tunnel' && !nat64) {
    return 'Different address family is allowed only for tunneling servers'
  }
  const { given } = draft
  if (draft.method !== 'tunnel') {
    const any = TUNNEL_OPTIONS.some((option) => given.has(option))
    return any ? 'Tunnel options conflict with forward method' : undefined
  }
  return tunnelMatrixProblem(draft.tunnelType, given)
}

function tunnelMatrixProblem(type: string, given: ReadonlySet<MatrixOption>): string | undefined {
  let exclusive: TunnelOption | undefined
  for (const option of TUNNEL_OPTIONS) {
    const mark = TUNNEL_MATRIX[type][option]
    if (!given.has(option)) {
      if (mark !== '+') continue
      return `You need to supply the '${option}' option for the '${type}' tunnel type`
    }
    if (mark === undefined) return `Illegal '${option}' option with the '${type}' tunnel type`
    if (mark !== '1') continue
    if (exclusive !== undefined) {
      return (
        `The option '${option}' conflicts with the '${exclusive}' option in the ` +
        `'${type}' tunnel type`
      )
    }
    exclusive = option
  }
  return undefined
}
