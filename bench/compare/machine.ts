/** The machine and the programs that a comparison ran with. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { ROOT } from '../net/tool.js'
import type { Machine } from './report.js'

/** Programs beside uvs: how each is asked, on stdout or stderr, and what the version looks like. */
const PROGRAMS: readonly (readonly [name: string, option: string, version: RegExp])[] = [
  ['nft', '-v', /v(\d[\w.]*)/],
  ['haproxy', '-v', /version (\S+)/],
  ['nginx', '-v', /nginx\/(\S+)/],
  ['wrk', '-v', /wrk (?:debian\/)?(\S+)/],
  ['iperf3', '-v', /iperf (\S+)/],
]

/** Programs that are not there are left out. */
export function thisMachine(): Machine {
  const versions = PROGRAMS.flatMap(([name, option, pattern]): [string, string][] => {
    const { stdout, stderr, error } = spawnSync(name, [option], { encoding: 'utf8' })
    const version = error === undefined ? pattern.exec(stdout + stderr)?.[1] : undefined
    return version === undefined ? [] : [[name, version]]
  })
  const own = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  return {
    processor: cpus()[0].model,
    processors: cpus().length,
    memoryGb: Math.round(totalmem() / 1e9),
    kernel: release(),
    versions: [['uvs', own.version], ['Node', process.version.slice(1)], ...versions],
  }
}
