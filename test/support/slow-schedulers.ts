/**
 * The first ten schedulers as slow, obvious models: objects in a list, BigInt arithmetic, one step
 * of the reference's pseudo-code per line. Tests compare the real ones with these on random input.
 */
export interface SlowDestination {
  slot: number
  /** fold(address) + port. */
  key: number
  weight: number
  lastWeight: number
  active: number
  inactive: number
  upperThreshold: number
  lowerThreshold: number
  overload: boolean
  available: boolean
}

export interface SlowPacket {
  /** fold(address) as unsigned 32-bit integers. */
  clientFold: number
  virtualFold: number
  /** Text that is different for different virtual addresses. */
  virtualKey: string
  clientPort: number
}

type List = readonly SlowDestination[]
type Choice = SlowDestination | undefined

/** Something that schedules one service; `list` is newest first. */
export interface SlowScheduler {
  schedule(list: List, packet: SlowPacket, nowSec: number): Choice
  /** Before a destination leaves the list. */
  onDelete?(list: List, destination: SlowDestination): void
  /** After any change of the list or of one destination. */
  onChange?(list: List): void
}

const ok = (d: SlowDestination): boolean => !d.overload
const overhead = (d: SlowDestination): bigint =>
  256n * BigInt(d.active) + BigInt(d.active + d.inactive)
const hash32 = (value: number, bits: number): number =>
  Number(((BigInt(value) * 0x61c88647n) % 2n ** 32n) >> BigInt(32 - bits))

export class SlowRr implements SlowScheduler {
  p: Choice = undefined // undefined is the head

  schedule(list: List): Choice {
    const last = this.p
    let cur = this.p
    for (let pass = 0; pass < 2; pass++) {
      for (;;) {
        cur = list[cur === undefined ? 0 : list.indexOf(cur) + 1]
        if (cur === undefined) break
        if (ok(cur) && cur.weight > 0) return (this.p = cur)
        if (cur === last) return undefined
      }
      if (this.p === undefined) return undefined
    }
    return undefined
  }

  onDelete(list: List, destination: SlowDestination): void {
    if (this.p === destination) this.p = list[list.indexOf(destination) - 1]
  }
}

export class SlowWrr implements SlowScheduler {
  cl: Choice = undefined
  cw = 0
  mw = 0
  di = 1
  #started = false

  onChange(list: List): void {
    const weights = list.map((d) => d.weight).filter((w) => w > 0)
    const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b))
    this.cl = undefined
    this.di = weights.length === 0 ? 1 : weights.reduce(gcd)
    this.mw = Math.max(0, ...weights) - (this.di - 1)
    if (!this.#started) this.cw = this.mw
    else if (this.cw > this.mw || this.cw === 0) this.cw = this.mw
    else if (this.di > 1) this.cw = Math.floor(this.cw / this.di) * this.di + 1
    this.#started = true
  }

  schedule(list: List): Choice {
    if (this.mw === 0) return undefined
    const last = this.cl
    let cur = this.cl
    let stop: Choice = undefined
    let lastPass = false
    let restarted = false
    for (;;) {
      for (;;) {
        cur = list[cur === undefined ? 0 : list.indexOf(cur) + 1]
        if (cur === undefined) break
        if (ok(cur) && cur.weight >= this.cw) return (this.cl = cur)
        if (cur === stop) {
          this.cl = cur
          return undefined
        }
      }
      this.cw -= this.di
      if (this.cw <= 0) {
        this.cw = this.mw
        if (lastPass || last === undefined) {
          this.cl = cur
          return undefined
        }
        restarted = true
      }
      lastPass = this.cw <= this.di
      if (lastPass && restarted && last !== undefined) stop = last
    }
  }
}

export const slowLc: SlowScheduler = {
  schedule(list) {
    let best: Choice
    for (const d of list) {
      if (!ok(d) || d.weight === 0) continue
      if (best === undefined || overhead(d) < overhead(best)) best = d
    }
    return best
  },
}

function slowWeighted(list: List, load: (d: SlowDestination) => bigint): Choice {
  const first = list.findIndex((d) => ok(d) && d.weight > 0)
  if (first < 0) return undefined
  let best = list[first]
  for (const d of list.slice(first + 1)) {
    if (!ok(d)) continue
    if (load(best) * BigInt(d.weight) > load(d) * BigInt(best.weight)) best = d
  }
  return best
}

export const slowWlc: SlowScheduler = { schedule: (list) => slowWeighted(list, overhead) }

export const slowSed: SlowScheduler = {
  schedule: (list) => slowWeighted(list, (d) => BigInt(d.active + 1)),
}

export const slowNq: SlowScheduler = {
  schedule(list) {
    let best: Choice
    for (const d of list) {
      if (!ok(d) || d.weight === 0) continue
      if (d.active === 0) return d
      const better =
        best === undefined ||
        BigInt(best.active + 1) * BigInt(d.weight) > BigInt(d.active + 1) * BigInt(best.weight)
      if (better) best = d
    }
    return best
  },
}

export const slowDh: SlowScheduler = {
  schedule(list, packet) {
    const table = Array.from({ length: 256 }, (_, i) => list[i % list.length])
    const d = table[hash32(packet.virtualFold, 8)]
    return d !== undefined && d.available && d.weight > 0 && ok(d) ? d : undefined
  },
}

export class SlowSh implements SlowScheduler {
  readonly fallback: boolean
  readonly port: boolean

  constructor(fallback: boolean, port: boolean) {
    this.fallback = fallback
    this.port = port
  }

  schedule(list: List, packet: SlowPacket): Choice {
    const table: SlowDestination[] = []
    for (let i = 0; list.length > 0 && table.length < 256; i = (i + 1) % list.length) {
      for (let n = 0; n < Math.max(1, list[i].weight) && table.length < 256; n++)
        table.push(list[i])
    }
    const port = this.port ? packet.clientPort : 0
    const key = (offset: number): number =>
      (offset + hash32((port + packet.clientFold) % 2 ** 32, 8)) & 255
    const available = (d: SlowDestination): boolean => d.weight > 0 && ok(d)
    const h = key(0)
    const d = table[h]
    if (d === undefined) return undefined
    if (available(d)) return d
    for (let off = 0; this.fallback && off < 256; off++) {
      const other = table[key((off + h) % 256)]
      if (available(other)) return other
    }
    return undefined
  }
}

const hot = (x: SlowDestination, list: List): boolean =>
  x.active > x.weight && list.some((y) => 2 * y.active < y.weight)

export class SlowLblc implements SlowScheduler {
  readonly table = new Map<string, { dest: SlowDestination; lastUse: number }>()

  schedule(list: List, packet: SlowPacket, nowSec: number): Choice {
    const e = this.table.get(packet.virtualKey)
    if (e !== undefined) {
      e.lastUse = nowSec
      if (e.dest.available && e.dest.weight > 0 && !hot(e.dest, list)) return e.dest
    }
    const d = slowWeighted(list, overhead)
    if (d === undefined) return undefined
    this.table.set(packet.virtualKey, { dest: d, lastUse: nowSec })
    return d
  }
}

export class SlowLblcr implements SlowScheduler {
  readonly table = new Map<string, { set: SlowDestination[]; lastMod: number }>()
  readonly expirationSec: number

  constructor(expirationSec: number) {
    this.expirationSec = expirationSec
  }

  schedule(list: List, packet: SlowPacket, nowSec: number): Choice {
    const e = this.table.get(packet.virtualKey)
    if (e === undefined) {
      const d = slowWeighted(list, overhead)
      if (d !== undefined) this.table.set(packet.virtualKey, { set: [d], lastMod: nowSec })
      return d
    }
    const least = this.#setMin(e.set)
    if (e.set.length > 1 && nowSec > e.lastMod + this.expirationSec) {
      const most = this.#setMax(e.set)
      if (most !== undefined) {
        e.set = e.set.filter((d) => d !== most)
        e.lastMod = nowSec
      }
    }
    if (least !== undefined && !hot(least, list)) return least
    const d = slowWeighted(list, overhead)
    if (d !== undefined && !e.set.includes(d)) {
      e.set.unshift(d)
      e.lastMod = nowSec
    }
    return d
  }

  #setMin(set: List): Choice {
    const first = set.findIndex((d) => ok(d) && d.weight > 0 && d.available)
    if (first < 0) return undefined
    let least = set[first]
    for (const d of set.slice(first + 1)) {
      if (!ok(d) || !d.available) continue
      if (overhead(least) * BigInt(d.weight) > overhead(d) * BigInt(least.weight)) least = d
    }
    return least
  }

  #setMax(set: List): Choice {
    const first = set.findIndex((d) => d.weight > 0)
    if (first < 0) return undefined
    let most = set[first]
    for (const d of set.slice(first + 1)) {
      const more = overhead(most) * BigInt(d.weight) < overhead(d) * BigInt(most.weight)
      if (more && d.weight > 0) most = d
    }
    return most
  }
}

/** Bind, unbind and edit events on the OVERLOAD flag, as events (not levels). */
export const slowThreshold = {
  bound(d: SlowDestination): void {
    if (d.upperThreshold !== 0 && d.active + d.inactive >= d.upperThreshold) d.overload = true
  },
  unbound(d: SlowDestination): void {
    const total = d.active + d.inactive
    if (d.lowerThreshold !== 0) {
      if (total < d.lowerThreshold) d.overload = false
    } else if (d.upperThreshold !== 0) {
      if (total * 4 < d.upperThreshold * 3) d.overload = false
    } else {
      d.overload = false
    }
  },
  edited(d: SlowDestination): void {
    const total = d.active + d.inactive
    const lower = d.lowerThreshold || d.upperThreshold - (d.upperThreshold >> 2)
    if (d.upperThreshold === 0) d.overload = false
    else if (total >= d.upperThreshold) d.overload = true
    else if (total < lower) d.overload = false
  },
}
