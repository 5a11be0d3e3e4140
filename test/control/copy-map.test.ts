/** CopyMap against a plain Map under random changes, and that old versions never change. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { CopyMap } from '../../src/control/model/copy-map.js'

describe('copy map', () => {
  it('behaves as a map, and every version stays as it was', () => {
    const change = fc.record({ key: fc.nat(40), value: fc.nat(), remove: fc.boolean() })
    fc.assert(
      fc.property(fc.array(change, { maxLength: 80 }), (changes) => {
        const oracle = new Map<string, number>()
        let map = CopyMap.empty<number>()
        const versions: { map: CopyMap<number>; expected: Map<string, number> }[] = []
        for (const { key, value, remove } of changes) {
          const name = `key ${key}`
          if (remove) oracle.delete(name)
          else oracle.set(name, value)
          map = remove ? map.without(name) : map.with(name, value)
          versions.push({ map, expected: new Map(oracle) })
        }
        for (const { map: version, expected } of versions) {
          assert.equal(version.size, expected.size)
          assert.deepEqual(new Map(version), expected)
          assert.deepEqual(new Set(version.keys()), new Set(expected.keys()))
          for (const [key, value] of expected) {
            assert.equal(version.get(key), value)
            assert.equal(version.has(key), true)
          }
        }
      }),
    )
  })

  it('returns itself when there is nothing to remove', () => {
    const map = CopyMap.empty<number>().with('a', 1)
    assert.equal(map.without('b'), map)
    assert.equal(map.get('b'), undefined)
    let visited = 0
    map.forEach((value) => (visited += value))
    assert.equal(visited, 1)
  })
})
