/** /proc/net/ip_vs_stats and /proc/net/ip_vs_conn as the kernel writes them (spec 9.5). Pure. */
import type { ConnectionRow, Endpoint } from '../dataplane-port.js'
import { addressFromValue, parseIpv6 } from '../model/address.js'
import type { WireStats } from '../netlink/ipvs-types.js'

const NUMBERS = 5

/** Totals and rates: upper-case hexadecimal in the third and sixth line. */
export function parseTotal(text: string): WireStats {
  const lines = text.split('\n')
  const numbers = (line: string | undefined): bigint[] => {
    const words = (line ?? '').trim().split(/\s+/).slice(0, NUMBERS)
    return Array.from({ length: NUMBERS }, (_, i) =>
      /^[0-9a-f]+$/i.test(words[i] ?? '') ? BigInt(`0x${words[i]}`) : 0n,
    )
  }
  const [connections, inPackets, outPackets, inBytes, outBytes] = numbers(lines[2])
  const [connectionRate, inPacketRate, outPacketRate, inByteRate, outByteRate] = numbers(lines[5])
  return {
    connections,
    inPackets,
    outPackets,
    inBytes,
    outBytes,
    connectionRate,
    inPacketRate,
    outPacketRate,
    inByteRate,
    outByteRate,
  }
}

const PROTOCOLS: Readonly<Record<string, ConnectionRow['protocol']>> = {
  TCP: 'tcp',
  UDP: 'udp',
  SCTP: 'sctp',
  IP: 'ip',
}

/** One line of /proc/net/ip_vs_conn; undefined for its title and what else is no connection. */
export function parseConnection(line: string): ConnectionRow | undefined {
  const words = line.trim().split(/\s+/)
  const protocol = PROTOCOLS[words[0]]
  const client = endpoint(words[1], words[2])
  const virtual = endpoint(words[3], words[4])
  const destination = endpoint(words[5], words[6])
  const [state, expires] = [words[7], Number(words[8])]
  if (protocol === undefined || client === undefined || !(expires >= 0)) return undefined
  if (virtual === undefined || destination === undefined) return undefined
  const row: ConnectionRow = {
    protocol,
    state,
    expiresSec: expires,
    client,
    virtual,
    destination,
    // The file says neither method nor flags.
    method: '',
    flags: 0,
    // Only templates have no client port: a connection of a port-less client cannot be.
    template: client.port === 0,
  }
  if (words.length < 10) return row
  return { ...row, engine: words[9], engineData: words.slice(10).join(' ') }
}

function endpoint(address: string | undefined, port: string | undefined): Endpoint | undefined {
  if (!/^[0-9a-f]{4}$/i.test(port ?? '')) return undefined
  const text = /^[0-9a-f]{8}$/i.test(address ?? '')
    ? addressFromValue(4, BigInt(`0x${address}`)).text
    : parseIpv6((address ?? '').replace(/^\[(.*)\]$/, '$1'))?.text
  return text === undefined ? undefined : { address: text, port: Number.parseInt(port ?? '', 16) }
}
