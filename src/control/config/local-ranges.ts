/** `ADDR[-ADDR][,...]`: the list form of --lip and of the config file. Pure. */
import { addressRange, parseAddress } from '../model/address.js'
import type { Address } from '../model/address.js'
import { failure, success } from '../model/errors.js'
import type { Result } from '../model/errors.js'

const RANGE_MAX = 1024

/** Every address of the list, in order. */
export function parseLocalRanges(text: string): Result<Address[]> {
  const all: Address[] = []
  for (const part of text.split(',')) {
    const [first, last = first, ...rest] = part.trim().split('-')
    const from = parseAddress(first)
    const to = parseAddress(last)
    const range = from && to && rest.length === 0 ? addressRange(from, to, RANGE_MAX) : undefined
    if (range === undefined) {
      return failure(
        'CONFIG_BAD',
        `"${part.trim()}" is not an address or a range ADDR-ADDR of at most ${RANGE_MAX} addresses`,
      )
    }
    all.push(...range)
  }
  return success(all)
}
