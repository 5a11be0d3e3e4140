/** Links and addresses of this host, as `ip -j` tells them. */
import type { Address } from '../model/address.js'
import { addressValue, parseAddress } from '../model/address.js'
import { ControlError } from '../model/errors.js'
import { runIp, type RunIp } from './command.js'

/** An address on an interface; its subnet is the first `prefixBits` bits. */
export interface HostAddress {
  readonly address: Address
  readonly prefixBits: number
}

export interface HostInterface {
  readonly ifindex: number
  readonly name: string
  readonly up: boolean
  readonly mtu: number
  /** What comes out of it was inside other packets: tunl0, gre0, sit0, ip6tnl0... */
  readonly isTunnel: boolean
  readonly addresses: readonly HostAddress[]
}

/** `link_type` of layer-3 tunnel devices (lib/ll_types.c of iproute2). */
const TUNNEL_LINKS: readonly unknown[] = ['ipip', 'tunnel6', 'sit', 'gre', 'gre6']

/** Reads all interfaces of the current network namespace. */
export async function readInterfaces(run: RunIp = runIp): Promise<HostInterface[]> {
  return parseInterfaces(await run(['-j', 'address', 'show']))
}

/**
 * Takes the output of `ip -j address show` apart; entries that are not as expected are left out.
 */
export function parseInterfaces(text: string): HostInterface[] {
  let items: unknown
  try {
    items = text.trim() === '' ? [] : JSON.parse(text)
  } catch {
    throw new ControlError(
      'DATAPLANE_FAILED',
      '"ip -j address" did not print JSON: update iproute2',
    )
  }
  return asArray(items).flatMap((item) => {
    const { ifindex, ifname, flags, mtu, link_type, addr_info } = asRecord(item)
    if (typeof ifindex !== 'number' || typeof ifname !== 'string') return []
    const addresses = asArray(addr_info).flatMap(parseHostAddress)
    return [
      {
        ifindex,
        name: ifname,
        up: asArray(flags).includes('UP'),
        mtu: Number(mtu ?? 0),
        isTunnel: TUNNEL_LINKS.includes(link_type),
        addresses,
      },
    ]
  })
}

function parseHostAddress(item: unknown): HostAddress[] {
  const { local, prefixlen } = asRecord(item)
  if (typeof local !== 'string' || typeof prefixlen !== 'number') return []
  const address = parseAddress(local)
  if (address === undefined) return []
  const bits = address.family === 4 ? 32 : 128
  return prefixlen >= 0 && prefixlen <= bits ? [{ address, prefixBits: prefixlen }] : []
}

/** The canonical text of every address the host has. */
export function ownAddresses(interfaces: readonly HostInterface[]): ReadonlySet<string> {
  return new Set(interfaces.flatMap(({ addresses }) => addresses.map((a) => a.address.text)))
}

/** Whether `address` lies in the subnet of `of`. A subnet of one address contains no other. */
export function inSubnet(of: HostAddress, address: Address): boolean {
  if (of.address.family !== address.family) return false
  const shift = BigInt((address.family === 4 ? 32 : 128) - of.prefixBits)
  return addressValue(of.address) >> shift === addressValue(address) >> shift
}

/** `value` if it is an array, otherwise an empty one: for JSON of other programs. */
export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** `value` if it is an object, otherwise an empty one: for JSON of other programs. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
