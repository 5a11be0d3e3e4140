/**
 * A map as a value: changing it makes a new one and leaves the old one as it was, yet copies only a
 * small part. A configuration has tens of thousands of entries and a restore changes each of them,
 * so copying a whole map per change would take minutes.
 *
 * Entries are spread over buckets by a hash of their key; a change copies the list of buckets and
 * the one bucket it touches. Iteration follows the buckets, not the order of insertion.
 */

const BUCKETS = 1024

/** FNV-1a over the UTF-16 units of the key. */
function bucketOf(key: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return (hash ^ (hash >>> 16)) & (BUCKETS - 1)
}

/** An immutable map with text keys. */
export class CopyMap<V> implements ReadonlyMap<string, V> {
  readonly size: number
  readonly #buckets: readonly (ReadonlyMap<string, V> | undefined)[]

  private constructor(buckets: readonly (ReadonlyMap<string, V> | undefined)[], size: number) {
    this.#buckets = buckets
    this.size = size
  }

  static empty<V>(): CopyMap<V> {
    return new CopyMap<V>([], 0)
  }

  get(key: string): V | undefined {
    return this.#buckets[bucketOf(key)]?.get(key)
  }

  has(key: string): boolean {
    return this.#buckets[bucketOf(key)]?.has(key) ?? false
  }

  /** The map with one entry added or replaced. */
  with(key: string, value: V): CopyMap<V> {
    const at = bucketOf(key)
    const bucket = new Map(this.#buckets[at])
    const grown = bucket.has(key) ? 0 : 1
    return this.#replace(at, bucket.set(key, value), this.size + grown)
  }

  /** The map without one entry; itself when there is none. */
  without(key: string): CopyMap<V> {
    if (!this.has(key)) return this
    const at = bucketOf(key)
    const bucket = new Map(this.#buckets[at])
    bucket.delete(key)
    return this.#replace(at, bucket, this.size - 1)
  }

  #replace(at: number, bucket: ReadonlyMap<string, V>, size: number): CopyMap<V> {
    const buckets = this.#buckets.slice()
    buckets[at] = bucket.size > 0 ? bucket : undefined
    return new CopyMap(buckets, size)
  }

  *entries(): MapIterator<[string, V]> {
    for (const bucket of this.#used()) yield* bucket.entries()
  }

  /** The buckets with something in them; a small map is done before its last bucket. */
  *#used(): Generator<ReadonlyMap<string, V>> {
    let left = this.size
    for (let at = 0; left > 0; at++) {
      const bucket = this.#buckets[at]
      if (bucket === undefined) continue
      left -= bucket.size
      yield bucket
    }
  }

  *keys(): MapIterator<string> {
    for (const [key] of this.entries()) yield key
  }

  *values(): MapIterator<V> {
    for (const bucket of this.#used()) yield* bucket.values()
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries()
  }

  forEach(visit: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this.entries()) visit(value, key, this)
  }
}
