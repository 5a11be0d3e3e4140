/**
 * The order of listings. ipvsadm compares by 32-bit differences, which is no order at all for
 * values further apart than 2^31; what comes out then depends on the sorting method, so the C
 * library's merge sort is followed step by step.
 */
import { addressValue } from '../model/address.js'
import type { Address } from '../model/address.js'
import { PROTOCOL_NUMBER } from '../model/service.js'
import type { ShownDestination, ShownService } from './shown.js'

/** glibc qsort: halves of n/2 and the rest, the left one wins ties. */
export function mergeSort<T>(items: readonly T[], compare: (a: T, b: T) => number): T[] {
  if (items.length <= 1) return [...items]
  const half = items.length >> 1
  const left = mergeSort(items.slice(0, half), compare)
  const right = mergeSort(items.slice(half), compare)
  const merged: T[] = []
  let l = 0
  let r = 0
  while (l < left.length && r < right.length) {
    merged.push(compare(left[l], right[r]) <= 0 ? left[l++] : right[r++])
  }
  return merged.concat(left.slice(l), right.slice(r))
}

function difference(a: number, b: number): number {
  return (a - b) | 0
}

/** Word by word; IPv4 has one word. */
function compareAddresses(a: Address, b: Address): number {
  const left = addressValue(a)
  const right = addressValue(b)
  for (let shift = a.family === 4 ? 0n : 96n; shift >= 0n; shift -= 32n) {
    const step = difference(
      Number((left >> shift) & 0xffffffffn),
      Number((right >> shift) & 0xffffffffn),
    )
    if (step !== 0) return step
  }
  return 0
}

const AF = { 4: 2, 6: 10 } as const

/** By mark, family, protocol, address, port. */
export function compareServices(a: ShownService, b: ShownService): number {
  return (
    difference(a.id.fwmark, b.id.fwmark) ||
    AF[a.id.address.family] - AF[b.id.address.family] ||
    PROTOCOL_NUMBER[a.id.protocol] - PROTOCOL_NUMBER[b.id.protocol] ||
    compareAddresses(a.id.address, b.id.address) ||
    a.id.port - b.id.port
  )
}

/** By family, address, then port. */
export function compareDestinations(a: ShownDestination, b: ShownDestination): number {
  return (
    AF[a.address.family] - AF[b.address.family] ||
    compareAddresses(a.address, b.address) ||
    a.port - b.port
  )
}
