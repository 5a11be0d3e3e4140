/**
 * The host's part of `npm run bench -- compare`: what uvs is compared with starts, carries traffic
 * and leaves nothing behind; the command writes its figures and its report.
 */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { START } from '../../bench/compare/contenders.js'
import { RUN } from '../../bench/compare/measures.js'
import { netTool } from '../../bench/net/tool.js'
import type { Figure } from '../../bench/report.js'
import { requireNamespaces } from '../support/namespace.js'
import { ROOT } from './support/paths.js'

const SECONDS = 1
const RUN_LIMIT_MS = 60_000

/** Namespaces that process `pid` made. */
function namespacesOf(pid: number): string[] {
  const names = execFileSync('ip', ['netns', 'list'], { encoding: 'utf8' }).split('\n')
  return names.filter((name) => name.startsWith(`uvs-t${pid}-`))
}

const isRunning = (pid: number): boolean => existsSync(`/proc/${pid}`)

describe('comparison on the host', function () {
  this.timeout(RUN_LIMIT_MS)

  before(function () {
    requireNamespaces(this)
    netTool() // compiled here, not in the first test's time
  })

  for (const name of ['haproxy', 'nginx', 'nft'] as const) {
    it(`${name} carries requests, and goes without a trace`, async () => {
      const before = namespacesOf(process.pid)
      const running = await START[name].start()
      const { forwarder, target, service } = running
      assert.equal(forwarder !== undefined, name !== 'nft')
      assert.notEqual(target, service)
      try {
        const web = await RUN.cps(running, { seconds: SECONDS })
        assert.ok((web.get('cps') ?? 0) > 100, `${web.get('cps')}`)
        assert.ok((web.get('cpu-per-kconn') ?? 0) > 0)
        assert.equal((web.get('own-cpu-per-kconn') ?? 0) > 0, forwarder !== undefined)
        const trips = await RUN.rtt(running, { seconds: SECONDS })
        const [median, p99] = [trips.get('rtt') ?? 0, trips.get('rtt-p99') ?? 0]
        assert.ok(median > 0 && median <= p99, `${median} ${p99}`)
      } finally {
        await running.stop()
      }
      assert.deepEqual(namespacesOf(process.pid), before)
      if (forwarder !== undefined) assert.ok(!isRunning(forwarder.pid))
    })
  }

  it('writes figures and report, and nothing else', () => {
    const folder = mkdtempSync(join(tmpdir(), 'uvs-test-'))
    try {
      const program = join(ROOT, 'dist/bench/index.js')
      const json = join(folder, 'figures.json')
      const report = join(folder, 'made/report')
      const words = ['compare', '--quick', '--only', 'compare/host/nginx/own-cpu-per-gb']
      const files = ['--json', json, '--report', report]
      const tmp = mkdtempSync(join(folder, 'tmp-')) // the run's own, to see what it leaves there
      const run = spawnSync(process.execPath, [program, ...words, ...files], {
        encoding: 'utf8',
        env: { ...process.env, TMPDIR: tmp },
        timeout: RUN_LIMIT_MS,
      })
      assert.equal(run.status, 0, run.stderr)
      const figures = JSON.parse(readFileSync(json, 'utf8')) as Figure[]
      const seen = figures.map(({ name, unit, rounds }) => ({ name, unit, rounds }))
      const name = 'compare/host/nginx/own-cpu-per-gb'
      assert.deepEqual(seen, [{ name, unit: 'cpu-s/GB', rounds: 1 }])
      assert.ok(figures[0].median > 0)
      assert.match(readFileSync(join(report, 'compare.md'), 'utf8'), /nginx 1\.\d+/)
      assert.deepEqual(readdirSync(tmp), [])
      assert.deepEqual(namespacesOf(run.pid), [])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('writes no report of another benchmark, and none of no figures', () => {
    const program = join(ROOT, 'dist/bench/index.js')
    const folder = join(tmpdir(), `uvs-test-no-report-${process.pid}`)
    const run = (...words: string[]): [number | null, string] => {
      const command = [program, ...words, '--report', folder]
      const { status, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' })
      return [status, stderr]
    }
    const [status, stderr] = run('core')
    assert.equal(status, 2)
    assert.match(stderr, /^usage: bench core\|maglev\|net\|compare /)
    const none = 'bench compare: no figure has squid in its name; docs/benchmarks names them\n'
    assert.deepEqual(run('compare', '--only', 'squid'), [1, none])
    assert.ok(!existsSync(folder))
  })
})
