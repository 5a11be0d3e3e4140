/** Programs of the kernel rig: their output, their limits, and that no child of them is left. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { collect } from '../../bench/kernel/collect.js'
import { waitFor } from '../support/wait.js'

/** Says the id of a child that holds the output for long, and goes on long itself. */
const LONG = 'sleep 300 & echo $!; sleep 300; true'

/** Ended; one that nobody has waited for yet is no more than a number. */
function isGone(pid: number): boolean {
  const stat = `/proc/${pid}/stat`
  return !existsSync(stat) || readFileSync(stat, 'utf8').includes(') Z ')
}

describe('collect', () => {
  it('gives status and output', async () => {
    let heard = ''
    const run = await collect('bash', ['-c', 'echo a; echo b >&2; exit 3'], {
      limitSec: 10,
      onOutput: (text, stream) => (heard += stream + text),
    })
    assert.deepEqual(run, { status: 3, stdout: 'a\n', stderr: 'b\n', diagnostics: '' })
    assert.deepEqual(heard.match(/std(out|err)\w/g)?.sort(), ['stderrb', 'stdouta'])
    const absent = collect('/nowhere/program', [], { limitSec: 10 })
    await assert.rejects(absent, { code: 'ENOENT' })
  })

  it('takes descriptors of its own for output', async () => {
    const script = 'echo a >&3; echo b >&4; echo c; echo d >&2'
    const { stdout, stderr, diagnostics } = await collect(
      'bash',
      ['-c', script],
      { limitSec: 10 },
      [3, 4],
    )
    assert.deepEqual([stdout, stderr], ['a\n', 'b\n'])
    assert.deepEqual(diagnostics.split('\n').sort(), ['', 'c', 'd'])
  })

  it('ends the program and its children after the limit', async () => {
    const late = collect('bash', ['-c', LONG], { limitSec: 0.5 })
    let child = 0
    await assert.rejects(late, ({ message }: Error) => {
      child = Number(/^not done after 0\.5 s\n(\d+)\n$/.exec(message)?.[1])
      return child > 0
    })
    await waitFor('the child to end', () => isGone(child))
  })

  it('a signal ends them first, then this process', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'uvs-test-'))
    const module = new URL('../../bench/kernel/collect.js', import.meta.url).href
    const script = `
      import { rmSync } from 'node:fs'
      import { collect, untilSignal } from ${JSON.stringify(module)}
      await untilSignal(async (signal) => {
        const onOutput = (text) => process.stdout.write(text)
        try {
          await collect('bash', ['-c', ${JSON.stringify(LONG)}], { limitSec: 60, onOutput, signal })
        } finally {
          rmSync(process.argv[1], { recursive: true })
        }
      })`
    try {
      const words = ['--input-type=module', '-e', script, folder]
      const runner = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'ignore'] })
      const ended = once(runner, 'exit')
      const [text] = (await once(runner.stdout, 'data')) as [Buffer]
      const child = Number(text.toString())
      assert.ok(child > 0 && !isGone(child))
      runner.kill('SIGTERM')
      assert.deepEqual(await ended, [null, 'SIGTERM'])
      assert.ok(!existsSync(folder))
      await waitFor('the child to end', () => isGone(child))
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
