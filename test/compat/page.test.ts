/** docs/compat.md: what it says is the same is shown by a test that is there. */
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'

const ROWS = readFileSync('docs/compat.md', 'utf8')
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter((cells) => cells.length === 5)
  .map(([, behaviour, verdict, notes]) => ({ behaviour, verdict, notes }))

const FILES = readdirSync('test', { recursive: true }).map((name) => `test/${String(name)}`)

/** Tests that a note names: by their path, or by their file alone. */
function testsIn(notes: string): string[] {
  const words = notes.match(/[\w/.*-]+/g) ?? []
  return words.filter((word) => /_test$|_test\.cc$|\.test\.ts$|scenarios\/[\w-]+\.ts$/.test(word))
}

function isThere(test: string): boolean {
  const pattern = new RegExp(`(^|/)${test.replaceAll('.', '\\.').replaceAll('*', '\\w*')}(\\.cc)?$`)
  return FILES.some((file) => pattern.test(file))
}

describe('docs/compat.md', () => {
  it('names a test with everything that is the same', () => {
    const same = ROWS.filter(({ verdict }) => verdict === 'same')
    assert.ok(same.length > 30)
    const bare = same.filter(({ notes }) => testsIn(notes).length === 0)
    assert.deepEqual(
      bare.map(({ behaviour }) => behaviour),
      [],
    )
  })

  it('names only tests that are there', () => {
    const named = ROWS.flatMap(({ notes }) => testsIn(notes))
    assert.deepEqual(
      named.filter((test) => !isThere(test)),
      [],
    )
    assert.ok(!isThere('nothing_test'))
  })
})
