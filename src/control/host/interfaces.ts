/** Links and addresses of a host. Pure; read-interfaces.ts asks the kernel for them. */
import type { Address } from '../model/address.js'
import { addressValue } from '../model/address.js'

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
