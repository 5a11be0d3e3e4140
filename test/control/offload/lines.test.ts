/** Lines of a file: all of them, and no descriptor left when their reader leaves early. */
import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { linesOf } from '../../../src/control/offload/lines.js'
import { waitFor } from '../../support/wait.js'

const LINES = 50_000

/** Descriptors of this process on the file at `path`. */
function descriptorsOn(path: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path
    } catch {
      return false // the one that the folder was read with
    }
  }).length
}

describe('lines of a file', () => {
  let folder: string
  let path: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'uvs-test-'))
    path = join(folder, 'file')
    writeFileSync(path, Array.from({ length: LINES }, (_, i) => `line ${i}\n`).join(''))
  })
  after(() => rmSync(folder, { recursive: true }))

  const closed = () => waitFor('the file to be closed', () => descriptorsOn(path) === 0)

  it('come in order, also to a slow reader', async () => {
    let at = 0
    for await (const line of linesOf(path)) {
      assert.equal(line, `line ${at++}`)
      if (at % 5000 === 0) await new Promise(setImmediate)
    }
    assert.equal(at, LINES)
    await closed()
  })

  it('keep no file open when the reader throws or stops', async () => {
    const readOne = async (leave: () => void) => {
      for await (const line of linesOf(path)) {
        assert.equal(line, 'line 0')
        assert.equal(descriptorsOn(path), 1)
        leave()
        break
      }
    }
    await readOne(() => undefined)
    await closed()
    const thrown = readOne(() => {
      throw new Error('enough')
    })
    await assert.rejects(thrown, /enough/)
    await closed()
  })

  it('of a file that is not there: an error', async () => {
    const first = linesOf(join(folder, 'none')).next()
    await assert.rejects(first, { code: 'ENOENT' })
  })
})
