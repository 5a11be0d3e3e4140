/**
 * Builds the fuzz targets (native/fuzz/*_fuzz.cc, libFuzzer with sanitizers) and runs them for a
 * bounded time: `npm run fuzz -- [--seconds N] [TARGET...]`, 60 seconds each by default.
 *
 * Seeds come from test/corpus/TARGET/ and are never changed; what a run finds is kept in
 * build/fuzz/corpus/TARGET/, and an input that fails in build/fuzz/failures/. To run one again:
 * `build/fuzz/TARGET_fuzz FILE`. The last line is `N passed, N failed`.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const ROOT = resolve(fileURLToPath(new URL('.', import.meta.url)), '../..')
const DEFAULT_SECONDS = 60
/** One input may take this long before it counts as a hang. */
const HANG_SEC = 10
const MEMORY_MB = 2048

function make(...words: string[]): { status: number; output: string } {
  const args = ['--silent', '--jobs=2', '-f', 'scripts/test-native.mk', 'CXX=clang++', ...words]
  const stdio: ['ignore', 'pipe', 'inherit'] = ['ignore', 'pipe', 'inherit']
  const done = spawnSync('make', args, { cwd: ROOT, encoding: 'utf8', stdio })
  if (done.error) throw done.error
  return { status: done.status ?? 1, output: done.stdout }
}

/** Runs one target; true when it found nothing. */
function runTarget(program: string, seconds: number): boolean {
  const target = basename(program).replace(/_fuzz$/, '')
  const found = join('build/fuzz/corpus', target)
  const failures = join('build/fuzz/failures', `${target}-`)
  mkdirSync(join(ROOT, found), { recursive: true })
  mkdirSync(join(ROOT, 'build/fuzz/failures'), { recursive: true })
  const seeds = join('test/corpus', target)
  const args = [
    `-max_total_time=${seconds}`,
    `-timeout=${HANG_SEC}`,
    `-rss_limit_mb=${MEMORY_MB}`,
    `-artifact_prefix=${failures}`,
    '-verbosity=0',
    '-print_final_stats=1',
    found,
    ...(existsSync(join(ROOT, seeds)) ? [seeds] : []),
  ]
  const done = spawnSync(join(ROOT, program), args, { cwd: ROOT, encoding: 'utf8' })
  const text = `${done.stdout}${done.stderr}`
  const runs = /number_of_executed_units:\s*(\d+)/.exec(text)?.[1] ?? '0'
  const passed = done.status === 0 && runs !== '0'
  console.log(`${passed ? 'ok' : 'not ok'} - ${target}: ${runs} inputs in ${seconds} s`)
  if (!passed) console.log(text)
  return passed
}

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seconds: { type: 'string', default: String(DEFAULT_SECONDS) } },
  })
  const seconds = Number(values.seconds)
  if (!Number.isInteger(seconds) || seconds < 1) {
    console.error(`fuzz: --seconds wants a whole number from 1, not ${values.seconds}`)
    return 2
  }
  const known = make('list-fuzz').output.split('\n').filter(Boolean)
  const wanted = positionals.map((name) => `build/fuzz/${name.replace(/_fuzz$/, '')}_fuzz`)
  const stranger = wanted.find((program) => !known.includes(program))
  if (stranger !== undefined) {
    const names = known.map((program) => basename(program).replace(/_fuzz$/, ''))
    console.error(`fuzz: no target ${basename(stranger)}; there are: ${names.join(', ')}`)
    return 2
  }
  const programs = wanted.length > 0 ? wanted : known
  if (programs.length > 0 && make(...programs).status !== 0) {
    console.log('fuzz: the build failed\n0 passed, 1 failed')
    return 1
  }
  const failed = programs.filter((program) => !runTarget(program, seconds)).length
  console.log(`${programs.length - failed} passed, ${failed} failed`)
  return failed === 0 ? 0 : 1
}

process.exitCode = main()
