// Runs the mocha tests by group: `node scripts/run-mocha.mjs unit|boundary|e2e|kernel|all`.
// A group is a folder (test/boundary, test/e2e, test/kernel), and `unit` is everything else. Each
// group runs in a process of its own, so that a crash of native code in one cannot hide the results
// of the others.
// Options: --grep WORD (titles), --counts FILE (writes `passed failed` there, for scripts/test.sh).
// The last line printed is `N passed, N failed`.
//
// With CI=true a skipped test is a failure: there nothing may be missing. A process that stays
// alive after its last test has leaked a handle and fails; nothing forces it to exit before that.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const GROUPS = ['unit', 'boundary', 'e2e', 'kernel']
const LEAK_GRACE_MS = 10_000
// Above the sum of all test time limits: reached only when native code never returns.
const GROUP_LIMIT_MS = 30 * 60_000

const self = fileURLToPath(import.meta.url)
const root = resolve(dirname(self), '..')

/** The compiled test files of a group. Listed by source, so that an old dist/ cannot add any. */
function filesOf(group) {
  return readdirSync(join(root, 'test'), { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .filter((name) => group === (GROUPS.find((other) => name.startsWith(`${other}/`)) ?? 'unit'))
    .sort()
    .map((name) => join(root, 'dist/test', name.replace(/\.ts$/, '.js')))
}

/** Runs one group in this process; resolves to what came out. */
async function runHere(files, grep) {
  const { default: Mocha } = await import('mocha')
  const { timeout } = JSON.parse(readFileSync(join(root, '.mocharc.json'), 'utf8'))
  const mocha = new Mocha({ timeout, forbidOnly: true, color: process.stdout.isTTY })
  if (grep !== undefined) mocha.grep(grep)
  for (const file of files) mocha.addFile(file)
  await mocha.loadFilesAsync()
  const skipped = []
  const stats = await new Promise((done) => {
    const runner = mocha.run(() => done(runner.stats))
    runner.on('pending', (test) => skipped.push(test.fullTitle()))
  })
  return { passed: stats.passes, failed: stats.failures, skipped }
}

/** The child's side: run, judge the skipped tests, leave the counts, and end by itself. */
async function runGroup(group, grep, countsFile) {
  const { passed, failed: failedTests, skipped } = await runHere(filesOf(group), grep)
  let failed = failedTests
  if (skipped.length > 0) {
    const strict = process.env.CI === 'true'
    console.log(`${group}: ${skipped.length} SKIPPED${strict ? ' (a failure under CI)' : ''}:`)
    for (const title of skipped) console.log(`  - ${title}`)
    if (strict) failed += skipped.length
  }
  const report = () => writeFileSync(countsFile, `${passed} ${failed}`)
  report()
  process.exitCode = failed === 0 ? 0 : 1
  // unref: this timer itself keeps nothing alive.
  setTimeout(() => {
    const held = process.getActiveResourcesInfo().join(', ')
    console.log(`${group}: still alive after the last test, holding: ${held}`)
    failed += 1
    report()
    process.exit(1)
  }, LEAK_GRACE_MS).unref()
}

/** Runs a group in a child process and reads its counts; a crash is one failure. */
function spawnGroup(group, grep) {
  const files = filesOf(group)
  if (files.length === 0) return { passed: 0, failed: 0 }
  const missing = files.filter((file) => !existsSync(file))
  if (missing.length > 0) {
    console.log(`${group}: not compiled (run \`npm run build:ts\`): ${missing.join(' ')}`)
    return { passed: 0, failed: missing.length }
  }
  mkdirSync(join(root, 'build'), { recursive: true })
  const counts = join(root, 'build', `.mocha-${group}-${process.pid}`)
  rmSync(counts, { force: true })
  console.log(`# mocha: ${group}`)
  const words = ['--enable-source-maps', '--expose-gc', self, group, '--child', counts]
  if (grep !== undefined) words.push('--grep', grep)
  const child = spawnSync(process.execPath, words, {
    cwd: root,
    stdio: 'inherit',
    timeout: GROUP_LIMIT_MS,
    killSignal: 'SIGKILL',
  })
  const text = existsSync(counts) ? readFileSync(counts, 'utf8') : ''
  rmSync(counts, { force: true })
  const [passed, failed] = text === '' ? [0, 1] : text.split(' ').map(Number)
  const died = text === '' || (child.status !== 0 && failed === 0)
  if (died) console.log(`${group}: the test process died (${child.signal ?? child.status})`)
  return { passed, failed: died ? Math.max(failed, 1) : failed }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    grep: { type: 'string' },
    counts: { type: 'string' },
    child: { type: 'string' },
  },
})
const wanted = positionals[0] ?? 'all'
if (wanted !== 'all' && !GROUPS.includes(wanted)) {
  console.error(`run-mocha: unknown group ${wanted}; one of ${[...GROUPS, 'all'].join(', ')}`)
  process.exit(2)
}
if (values.child !== undefined) {
  await runGroup(wanted, values.grep, values.child)
} else {
  let passed = 0
  let failed = 0
  for (const group of wanted === 'all' ? GROUPS : [wanted]) {
    const result = spawnGroup(group, values.grep)
    passed += result.passed
    failed += result.failed
  }
  if (values.counts !== undefined) writeFileSync(values.counts, `${passed} ${failed}\n`)
  console.log(`${passed} passed, ${failed} failed`)
  process.exitCode = failed === 0 ? 0 : 1
}
