/** `uvs shim`: its line, its environment, its end. What it carries is tested in namespaces. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  environmentLines,
  parseShimLine,
  runShimmed,
  shimEnvironment,
  shimLibrary,
} from '../../../src/control/cli/shim.js'

const parse = (...argv: string[]) => parseShimLine(argv, '/s')

describe('uvs shim', () => {
  it('takes its own flags before the command only', () => {
    const plain = { socket: '/s', printsEnvironment: false }
    assert.deepEqual(parse('ipvsadm', '-L', '--socket', 'x'), {
      ...plain,
      command: ['ipvsadm', '-L', '--socket', 'x'],
    })
    assert.deepEqual(parse('--socket', '/t', 'a'), { ...plain, socket: '/t', command: ['a'] })
    assert.deepEqual(parse('--socket=/t', '--', '-a'), { ...plain, socket: '/t', command: ['-a'] })
    assert.deepEqual(parse('--env'), { socket: '/s', printsEnvironment: true, command: [] })
    for (const bad of [[], ['--env', 'a'], ['--x', 'a'], ['--socket'], ['--socket=', 'a']]) {
      assert.equal(parse(...bad), undefined, bad.join(' '))
    }
  })

  it('keeps what is preloaded already', () => {
    assert.deepEqual(shimEnvironment('/l.so', '/s', undefined), {
      LD_PRELOAD: '/l.so',
      UVS_SOCKET: '/s',
    })
    assert.equal(shimEnvironment('/l.so', '/s', '/other.so').LD_PRELOAD, '/other.so:/l.so')
    assert.equal(shimEnvironment('/l.so', '/s', '/a.so /b.so:').LD_PRELOAD, '/a.so:/b.so:/l.so')
    assert.match(shimLibrary(), /ipvs_shim\.so$/)
  })

  it('prints an environment that env takes as it is, and no other', () => {
    const plain = { A: '/plain:x', B: '/run/häuser/uvs-1.sock' }
    const text = environmentLines(plain)
    assert.equal(text, 'A=/plain:x\nB=/run/häuser/uvs-1.sock\n')
    // As a shell splits it.
    const { stdout } = spawnSync('sh', ['-c', 'env -i $1', 'sh', text], { encoding: 'utf8' })
    assert.equal(stdout, text)
    for (const bad of [
      'a b',
      'a\tb',
      'a\nb',
      "a'b",
      'a"b',
      'a\\b',
      'a*',
      'a?',
      '[a]',
      '$a',
      'a;b',
    ]) {
      assert.throws(() => environmentLines({ ...plain, UVS_SOCKET: `/run/${bad}` }), {
        code: 'CONFIG_BAD',
        message: /^--env cannot print UVS_SOCKET: .* choose another path/s,
      })
    }
  })

  it('ends as the command does', async () => {
    let said = ''
    const run = (...command: string[]) => runShimmed(command, {}, (text) => (said += text))
    assert.equal(await run('sh', '-c', 'exit 7'), 7)
    assert.equal(await run('sh', '-c', 'kill -KILL $$'), 128 + 9)
    assert.equal(await run('/nowhere/program'), 127)
    assert.match(said, /cannot run \/nowhere\/program/)
  })

  it('passes signals on', async () => {
    // The command tells us to signal ourselves once its trap is set.
    const script = 'trap "exit 42" TERM; kill -TERM $PPID; while :; do sleep 0.01; done'
    assert.equal(await runShimmed(['sh', '-c', script], {}, () => undefined), 42)
  })
})
