/** `uvs run --offload kernel` against the real IPVS, in one guest: a test for each check. */
import assert from 'node:assert/strict'
import { runWithIpvs } from '../../bench/kernel/rig.js'
import { OFFLOAD_CHECKS } from './offload-checks.js'
import { requireGuest } from './run.js'

/** Generous: a machine may have other things to do. */
const LIMIT_SEC = 600

describe('offload to the kernel', function () {
  this.timeout(LIMIT_SEC * 1000)
  const problems = new Map<string, string>()
  let rest = 'the guest said nothing of it'

  before(async function () {
    requireGuest(this)
    const command = 'exec unshare -n node dist/test/kernel/inside/offload.js'
    const run = await runWithIpvs(command, { limitSec: LIMIT_SEC, clock: 'warped' })
    for (const line of run.stdout.split('\n').filter((text) => text.startsWith('{'))) {
      const { name, problem: text } = JSON.parse(line) as { name: string; problem: string }
      problems.set(name, text)
    }
    rest = `${rest}\n${run.stderr}`
  })

  for (const name of OFFLOAD_CHECKS) {
    it(name, () => assert.equal(problems.get(name) ?? rest, ''))
  }
})
