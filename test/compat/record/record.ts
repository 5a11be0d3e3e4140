/**
 * Runs the real ipvsadm 1.31 over the lines of cases.ts and writes what it printed to
 * test/compat/recorded.jsonl. By hand, where ipvsadm and a C compiler are installed:
 *
 *     npm run build:ts && node dist/test/compat/record/record.js
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ERRNOS, KERNEL_LINES, LINES, LISTINGS, RESTORES } from '../cases.js'
import { SOURCE_DIRECTORY } from '../recorded.js'
import type { Recording } from '../recorded.js'

const work = mkdtempSync(join(tmpdir(), 'uvs-record-'))
const shim = join(work, 'shim.so')
const here = (name: string) => join(SOURCE_DIRECTORY, 'record', name)

function compile(): void {
  const args = ['-shared', '-fPIC', '-O1', '-o', shim, here('kernel_shim.c'), '-ldl']
  const { status, stderr } = spawnSync('gcc', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}

interface Run {
  readonly argv: readonly string[]
  readonly state: 'small' | 'large'
  readonly errno: keyof typeof ERRNOS | ''
  readonly input: string
}

function record({ argv, state, errno, input }: Run): Recording {
  const log = join(work, 'log')
  writeFileSync(log, '')
  const { status, stdout, stderr } = spawnSync('ipvsadm', argv, {
    encoding: 'utf8',
    input,
    env: {
      ...process.env,
      LC_ALL: 'C',
      LD_PRELOAD: shim,
      UVS_SHIM_LOG: log,
      UVS_SHIM_STATE: here(`${state}.state`),
      UVS_SHIM_CONN: here('conn.state'),
      UVS_SHIM_ERRNO: String(errno === '' ? 0 : ERRNOS[errno]),
    },
  })
  const calls = readFileSync(log, 'utf8').split('\n').slice(0, -1)
  return { argv, state, errno, input, status: status ?? -1, stdout, stderr, calls }
}

function runs(): Run[] {
  const plain = { state: 'small', errno: '', input: '' } as const
  const errnos = Object.keys(ERRNOS) as (keyof typeof ERRNOS)[]
  return [
    ...LINES.map((argv) => ({ ...plain, argv })),
    ...errnos.flatMap((errno) => KERNEL_LINES.map((argv) => ({ ...plain, argv, errno }))),
    ...LISTINGS.map((argv) => ({ ...plain, argv, state: 'large' as const })),
    ...RESTORES.flatMap((input) =>
      (['', 'EEXIST'] as const).map((errno) => ({ ...plain, argv: ['-R'], errno, input })),
    ),
  ]
}

try {
  compile()
  const recordings = runs().map(record)
  writeFileSync(
    join(SOURCE_DIRECTORY, 'recorded.jsonl'),
    recordings.map((r) => `${JSON.stringify(r)}\n`).join(''),
  )
} finally {
  rmSync(work, { recursive: true })
}
