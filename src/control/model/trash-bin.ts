/** The removed destinations of a configuration, as an immutable collection. */
import { CopyMap } from './copy-map.js'
import type { TrashedDestination } from './destination.js'

/** In no particular order; `length` and `map` are those of an array. */
export class Trash implements Iterable<TrashedDestination> {
  readonly #entries: CopyMap<TrashedDestination>

  private constructor(entries: CopyMap<TrashedDestination>) {
    this.#entries = entries
  }

  static empty(): Trash {
    return new Trash(CopyMap.empty())
  }

  get length(): number {
    return this.#entries.size
  }

  get(key: string): TrashedDestination | undefined {
    return this.#entries.get(key)
  }

  with(key: string, entry: TrashedDestination): Trash {
    return new Trash(this.#entries.with(key, entry))
  }

  without(key: string): Trash {
    return new Trash(this.#entries.without(key))
  }

  map<T>(convert: (entry: TrashedDestination) => T): T[] {
    return Array.from(this.#entries.values(), convert)
  }

  [Symbol.iterator](): Iterator<TrashedDestination> {
    return this.#entries.values()
  }
}
