/** Temporary. */
import { mappedBytes, type Address, parseAddress } from '../model/address.js'
import type { Config } from '../model/config.js'
import { execFileSync } from 'node:child_process'
import type { DataplaneOptions } from '../dataplane-port.js'
export class HostSide {
  static async prepare(_o: DataplaneOptions): Promise<HostSide> { return new HostSide() }
  async facts(config: Config) {
    const rec: Uint8Array[] = []
    const add = (a: Address, port: number, proto: number, kind: number, flags = 0) => {
      const r = new Uint8Array(28); r.set(mappedBytes(a), 0); r[16] = port >> 8; r[17] = port & 255; r[18] = proto; r[19] = kind; r[24] = flags; rec.push(r)
    }
    const json = JSON.parse(execFileSync('ip', ['-j', 'addr'], { encoding: 'utf8' })) as { addr_info: { local: string }[] }[]
    const own = new Set(json.flatMap((l) => l.addr_info.map((a) => a.local)))
    for (const a of own) { const p = parseAddress(a); if (p) add(p, 0, 0, 4) }
    const announces: { address: Address; port: number }[] = []
    for (const s of config.services.values()) {
      const proto = s.id.protocol === 'tcp' ? 6 : 17
      add(s.id.address, s.id.port, proto, 1); add(s.id.address, 0, 0, 5)
      if (!own.has(s.id.address.text)) { add(s.id.address, 0, 0, 6); announces.push({ address: s.id.address, port: 0 }) }
      for (const d of s.destinations) { if (d.method === 'masquerade') add(d.address, d.port, proto, 2, 1); if (d.method === 'fullnat') add(d.address, d.port, proto, 2, 2) }
      for (const l of s.localAddresses) { add(l, 0, 0, 3); if (!own.has(l.text)) { add(l, 0, 0, 6); announces.push({ address: l, port: 1 }) } }
    }
    const entries = new Uint8Array(rec.length * 28); rec.forEach((r, i) => entries.set(r, i * 28))
    return { entries, announces, localPortFirst: 5000, localPortLast: 65535 }
  }
  async apply(_c: Config) {}
  async remove() {}
}
