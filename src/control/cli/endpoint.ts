/** The address grammar of the command line (spec 10.3). */
import { parseIpv4Aton, parseIpv6 } from '../model/address.js'
import type { Address } from '../model/address.js'
import type { Resolver } from './resolver.js'

/** `port` is undefined where the text names none, or where ipvsadm loses it. */
export interface Endpoint {
  readonly address: Address
  readonly port: number | undefined
}

/** strtol base 10 over the whole text: leading blanks and a sign are fine, nothing may follow. */
export function wholeNumber(text: string, low: number, high: number): number | undefined {
  if (!/^\s*[+-]?\d+$/.test(text)) return undefined
  const value = Number(text)
  return value >= low && value <= high ? value + 0 : undefined
}

/** Address in numbers, or a host name; IPv4 only. */
export async function parseHost(text: string, resolver: Resolver): Promise<Address | undefined> {
  const numeric = parseIpv4Aton(text)
  if (numeric !== undefined) return numeric
  return /^[A-Za-z0-9_.-]+$/.test(text) ? resolver.hostAddress(text) : undefined
}

/** `protocol` is used for service names of ports; undefined means none resolves. */
export async function parseEndpoint(
  text: string,
  protocol: string | undefined,
  resolver: Resolver,
): Promise<Endpoint | undefined> {
  if (text.startsWith('[')) return parseBracketed(text, protocol, resolver)
  const literal = parseIpv6(text)
  if (literal !== undefined) return { address: literal, port: undefined }
  if (/^\d*$/.test(text)) return undefined
  const colon = text.lastIndexOf(':')
  const address = await parseHost(colon < 0 ? text : text.slice(0, colon), resolver)
  if (address === undefined) return undefined
  if (colon < 0) return { address, port: undefined }
  const port = parsePort(text.slice(colon + 1), protocol, resolver)
  return port === undefined ? undefined : { address, port }
}

async function parseBracketed(
  text: string,
  protocol: string | undefined,
  resolver: Resolver,
): Promise<Endpoint | undefined> {
  const close = text.indexOf(']')
  if (close < 0 || text[close + 1] !== ':') return undefined
  const inside = text.slice(1, close)
  const literal = parseIpv6(inside)
  if (literal !== undefined) {
    const port = parsePort(text.slice(close + 2), protocol, resolver)
    return port === undefined ? undefined : { address: literal, port }
  }
  // ipvsadm accepts an IPv4 host in brackets but never looks at its port.
  const address = await parseHost(inside, resolver)
  return address === undefined ? undefined : { address, port: undefined }
}

function parsePort(
  text: string,
  protocol: string | undefined,
  resolver: Resolver,
): number | undefined {
  const number = wholeNumber(text, 0, 65535)
  if (number !== undefined || protocol === undefined || text === '') return number
  return resolver.servicePort(text, protocol)
}
