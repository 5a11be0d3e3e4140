/**
 * Which packets the host's routing hands to the TUN device: policy rules as data, and the
 * difference between two sets of them as `ip -batch` text. Pure; host-side.ts runs it.
 *
 * Rules of `--io tun`, in the order in which the kernel asks them:
 *
 *   70  iif TUN                         -> 73       what uvs has sent is routed normally
 *   70  iif lo                          -> 72       the host's own packets get no marks
 *   70  iif TUNNEL DEVICE               -> 73       with ignore_tunneled (spec 5.8)
 *   71  what mark rules select          -> TUN
 *   72  to SERVICE, to LOCAL ADDRESS    -> TUN      requests, and replies of FULLNAT destinations
 *   73  nothing
 *   74  the local table, moved here from 0 while the host has one of those addresses itself
 *   75  iif TUN                         -> 78
 *   76  from MASQUERADE destination     -> TUN      replies, unless they are for the host itself
 *   78  nothing: where what uvs has sent goes on
 *
 * The second 70, 71 and a target at 72 are there with mark rules only. The frame of the first 70,
 * 73, 75 and 78 is always the same: the kernel takes two rules that differ in their goto for one.
 *
 * With `--io af_packet` only replies of a destination on the director itself need a rule (72, iif
 * lo): they never pass a port.
 *
 * ICMP errors go to uvs where nobody else could want them: to addresses that the host does not
 * have. A rule cannot tell an error from a ping.
 */
import type { IoKind } from '../dataplane-port.js'
import { formatEndpoint, parseAddress, type Address, type Family } from '../model/address.js'
import type { Config } from '../model/config.js'
import { isAnywhere, selectedEnds, type MarkEnd } from '../model/mark-ends.js'
import { addressBits, contains } from '../model/mark-rule.js'
import { PROTOCOL_NUMBER } from '../model/service.js'
import {
  addressServices,
  ftpDataAddresses,
  localAddresses,
  replySources,
  requestEnds,
  virtualAddresses,
  type PortRange,
  type ReplySource,
} from './quiet.js'

/** The routing table whose only route leads into the TUN device. */
export const TABLE = 7777

/** Marks our rules and routes as ours (the `protocol` field, rt_protos(5)). */
export const PROTOCOL = 177

/** A port no rule can name: the kernel refuses it (net/core/fib_rules.c, port range checks). */
export const PORT_MAX = 65535

/** The key exchange of AH and ESP, which have no ports and go where it goes (spec 3.2). */
const IKE_PORT = 500

/** ESP and AH; over IPv6 the latter is an extension header, which rules do not look behind. */
const IPSEC: Readonly<Record<Family, readonly number[]>> = { 4: [50, 51], 6: [50] }

const PREFERENCE = {
  OUT: 70,
  TUNNELED: 70,
  MARKED: 71,
  TAKE: 72,
  PAST: 73,
  LOCAL: 74,
  AGAIN: 75,
  REPLY: 76,
  END: 78,
} as const

export const FAMILIES: readonly Family[] = [4, 6]

/** What one family's routing should have from us. */
export interface FamilyRules {
  /** In the order in which they are added; without preference 0. */
  readonly rules: readonly string[]
  /** The local table stands at preference 74 instead of 0. */
  readonly localMoved: boolean
}

export type WantedRules = Readonly<Record<Family, FamilyRules>>

export interface RuleOptions {
  readonly io: IoKind
  readonly tunName: string
  /** Canonical text of every address the host has. */
  readonly own: ReadonlySet<string>
  /** FULLNAT local addresses of connections from before (quiet.ts). */
  readonly heldAddresses: readonly Address[]
  /** FULLNAT local ports. */
  readonly localPorts: PortRange
  /** What FTP services take beside their own port and 20 (quiet.ts). */
  readonly ftpDataFirst: number
  /** Names of the host's tunnel devices. */
  readonly tunnels: readonly string[]
}

const NOTHING: FamilyRules = { rules: [], localMoved: false }

/** No rules at all. */
export const NO_RULES: WantedRules = { 4: NOTHING, 6: NOTHING }

/** The rules `config` needs on a host like this. */
export function wantedRules(config: Config, options: RuleOptions): WantedRules {
  return { 4: familyRules(config, options, 4), 6: familyRules(config, options, 6) }
}

function familyRules(config: Config, options: RuleOptions, family: Family): FamilyRules {
  const sources = routableSources(config, family)
  if (options.io === 'af_packet') {
    const local = sources.filter(({ address }) => options.own.has(address.text))
    return { rules: unique(local.map((one) => take(`iif lo ${from(one)}`))), localMoved: false }
  }
  const marked = selectedEnds(config).filter(({ address }) => address.family === family)
  const takes = [
    ...markRules(marked, options, family),
    ...serviceRules(config, options, family),
    ...fullnatRules(config, options, family),
  ]
  const replies = sources
    .filter(({ fullnat }) => !fullnat)
    .flatMap(repliesOf)
    .map((one) => rule(PREFERENCE.REPLY, `${one} lookup ${TABLE}`))
  if (takes.length + replies.length === 0) return NOTHING
  const local = [...localAddresses(config), ...options.heldAddresses]
  const addresses = [...virtualAddresses(config), ...local]
  const localMoved =
    addresses.some((address) => address.family === family && options.own.has(address.text)) ||
    marked.some((end) => hasOwn(end, options.own))
  return {
    rules: unique([
      ...frame(options.tunName, localMoved),
      ...tunneledRules(config, options),
      ...takes,
      ...replies,
    ]),
    localMoved,
  }
}

/** What keeps the packets that uvs sends from coming back to it. */
function frame(tunName: string, localMoved: boolean): string[] {
  const skip = (at: number, to: number): string => rule(at, `iif ${tunName} goto ${to}`)
  return [
    rule(PREFERENCE.END, 'nop'),
    rule(PREFERENCE.PAST, 'nop'),
    skip(PREFERENCE.AGAIN, PREFERENCE.END),
    skip(PREFERENCE.OUT, PREFERENCE.PAST),
    ...(localMoved ? [rule(PREFERENCE.LOCAL, 'lookup local')] : []),
  ]
}

/** What the host has taken out of a tunnel is its own, not a service's. */
function tunneledRules(config: Config, { tunnels }: RuleOptions): string[] {
  if (config.sysctls.ignore_tunneled === 0) return []
  return tunnels.map((name) => rule(PREFERENCE.TUNNELED, `iif ${name} goto ${PREFERENCE.PAST}`))
}

/**
 * Rules cannot name port 0 or 65535. A destination brings the ICMP errors to it along unless the
 * host has an address in it.
 */
function markRules(ends: readonly MarkEnd[], { own }: RuleOptions, family: Family): string[] {
  const to = ({ address, bits }: MarkEnd) => (bits === 0 ? '' : `to ${address.text}/${bits} `)
  const ports = ends.flatMap((end) => {
    const [first, last] = [Math.max(end.first, 1), Math.min(end.last, PORT_MAX - 1)]
    if (first > last) return []
    const dport = end.first === 0 && end.last === PORT_MAX ? '' : ` dport ${first}-${last}`
    const isIke = end.protocol === 'udp' && first <= IKE_PORT && IKE_PORT <= last
    return [
      `${to(end)}ipproto ${PROTOCOL_NUMBER[end.protocol]}${dport}`,
      ...(isIke ? IPSEC[family].map((number) => `${to(end)}ipproto ${number}`) : []),
    ].map((selector) => rule(PREFERENCE.MARKED, `${selector} lookup ${TABLE}`))
  })
  if (ports.length === 0) return []
  const icmp = ends
    .filter((end) => !isAnywhere(end) && !hasOwn(end, own))
    .map((end) => take(`${to(end)}ipproto ${icmpProtocol(family)}`))
  return [
    rule(PREFERENCE.TAKE, 'nop'),
    rule(PREFERENCE.OUT, `iif lo goto ${PREFERENCE.TAKE}`),
    ...ports,
    ...icmp,
  ]
}

/** Whether the host has an address that an end selects. */
function hasOwn(end: MarkEnd, own: ReadonlySet<string>): boolean {
  return [...own].some((text) => {
    const address = parseAddress(text)
    if (address === undefined) return false
    return contains(end, { address, bits: addressBits(address.family) })
  })
}

function serviceRules(config: Config, options: RuleOptions, family: Family): string[] {
  const { own } = options
  const ends = requestEnds(config).filter(
    ({ address, port }) => address.family === family && port !== PORT_MAX,
  )
  const icmp = virtualAddresses(config)
    .filter((address) => address.family === family && !own.has(address.text))
    .map(({ text }) => take(`to ${text} ipproto ${icmpProtocol(family)}`))
  const ports = ends.map((id) => {
    const port = id.port === 0 ? '' : ` dport ${id.port}`
    return take(`to ${id.address.text} ipproto ${PROTOCOL_NUMBER[id.protocol]}${port}`)
  })
  const ipsec = ends
    .filter(isIke)
    .flatMap(({ address }) => IPSEC[family].map((n) => take(`to ${address.text} ipproto ${n}`)))
  const data = ftpDataAddresses(config)
    .filter((address) => address.family === family)
    .flatMap(({ text }) =>
      ftpDataPorts(options).map((range) =>
        take(`to ${text} ipproto ${PROTOCOL_NUMBER.tcp} dport ${range}`),
      ),
    )
  return [...ports, ...ipsec, ...data, ...icmp]
}

/** Rules cannot name port 0 or 65535. */
function ftpDataPorts({ ftpDataFirst }: RuleOptions): string[] {
  const first = Math.max(ftpDataFirst, 1)
  return first < PORT_MAX ? ['20', `${first}-${PORT_MAX - 1}`] : ['20']
}

/**
 * A local address that the host has as well is also that of its own sockets: only packets from
 * FULLNAT destinations are taken there.
 */
function fullnatRules(config: Config, options: RuleOptions, family: Family): string[] {
  const { first, last } = options.localPorts
  const sources = routableSources(config, family).filter(({ fullnat }) => fullnat)
  const all = [...localAddresses(config), ...options.heldAddresses]
  const local = all.filter((address) => address.family === family)
  return local.flatMap(({ text }) => {
    if (options.own.has(text)) {
      return sources.map((one) => take(`${from(one)} to ${text} dport ${first}-${last}`))
    }
    const protocols = [...new Set(sources.map(({ protocol }) => PROTOCOL_NUMBER[protocol]))]
    return [
      ...protocols.map((number) => take(`to ${text} ipproto ${number} dport ${first}-${last}`)),
      take(`to ${text} ipproto ${icmpProtocol(family)}`),
    ]
  })
}

function routableSources(config: Config, family: Family): ReplySource[] {
  return replySources(config).filter(
    ({ address, port }) => address.family === family && port !== PORT_MAX,
  )
}

/** Services and destinations that no rule can be made for, as text for the log. */
export function unroutable(config: Config): string[] {
  const services = addressServices(config).map(({ id }) => id)
  const marked = selectedEnds(config)
    .filter(({ first, last }) => last === PORT_MAX && first > 0)
    .map(({ address, last: port }) => ({ address, port }))
  const found = [...services, ...replySources(config), ...marked]
    .filter(({ port }) => port === PORT_MAX)
    .map(({ address, port }) => formatEndpoint(address, port))
  return [...new Set(found)]
}

function icmpProtocol(family: Family): number {
  return family === 4 ? 1 : 58
}

function isIke({ protocol, port }: Pick<ReplySource, 'protocol' | 'port'>): boolean {
  return protocol === 'udp' && (port === 0 || port === IKE_PORT)
}

/** What selects the replies of a masquerade destination. */
function repliesOf(source: ReplySource): string[] {
  const { address } = source
  const ipsec = isIke(source) ? IPSEC[address.family] : []
  return [from(source), ...ipsec.map((number) => `from ${address.text} ipproto ${number}`)]
}

function from({ address, protocol, port }: ReplySource): string {
  const selector = `from ${address.text} ipproto ${PROTOCOL_NUMBER[protocol]}`
  return port === 0 ? selector : `${selector} sport ${port}`
}

function take(selector: string): string {
  return rule(PREFERENCE.TAKE, `${selector} lookup ${TABLE}`)
}

function rule(preference: number, words: string): string {
  return `pref ${preference} ${words} protocol ${PROTOCOL}`
}

function unique(rules: readonly string[]): string[] {
  return [...new Set(rules)]
}

/** The route all taken packets take. */
function route(tunName: string): string {
  return `default dev ${tunName} table ${TABLE} protocol ${PROTOCOL}`
}

/**
 * Lines for `ip -4 -batch -` or `ip -6 -batch -` that turn one family's rules into other ones;
 * empty when nothing differs. New comes before old, so that no packet meets a gap.
 */
export function batchText(before: FamilyRules, after: FamilyRules, tunName: string): string {
  const known = new Set(before.rules)
  const wanted = new Set(after.rules)
  const lines: string[] = []
  if (before.rules.length === 0 && after.rules.length > 0) {
    lines.push(`route replace ${route(tunName)}`)
  }
  // The local table is looked up at 0 whenever it is not at 74.
  if (before.localMoved && !after.localMoved) lines.push(LOCAL_BACK)
  lines.push(...after.rules.filter((one) => !known.has(one)).map((one) => `rule add ${one}`))
  if (after.localMoved && !before.localMoved) lines.push('rule del pref 0 lookup local')
  const gone = before.rules.filter((one) => !wanted.has(one)).reverse()
  lines.push(...gone.map((one) => `rule del ${one}`))
  return lines.map((line) => `${line}\n`).join('')
}

/** The kernel's own rule, exactly as it makes it. */
export const LOCAL_BACK = 'rule add pref 0 lookup local protocol kernel'

/** A rule as `ip -j rule` tells it, as far as it matters here. */
export interface FoundRule {
  readonly priority: number
  readonly table: string | undefined
  readonly protocol: string | undefined
}

/**
 * Lines that remove the rules a killed director left, and put the local table back in its place;
 * empty when there are none.
 */
export function cleanText(found: readonly FoundRule[]): string {
  const ours = found.filter(({ protocol }) => protocol === String(PROTOCOL))
  const localMissing = !found.some(({ priority, table }) => priority === 0 && table === 'local')
  const lines = ours.length > 0 && localMissing ? [LOCAL_BACK] : []
  // Each deletion takes the first that is left with that preference.
  lines.push(...ours.map(({ priority }) => `rule del pref ${priority} protocol ${PROTOCOL}`))
  return lines.map((line) => `${line}\n`).join('')
}
