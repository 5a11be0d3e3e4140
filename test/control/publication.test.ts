/** A change of the data plane as a transaction: whatever step fails, the one before is in force. */
import assert from 'node:assert/strict'
import { emptyConfig } from '../../src/control/model/config.js'
import type { Config } from '../../src/control/model/config.js'
import { publishOrRestore } from '../../src/control/publication.js'
import type { PublicationSteps } from '../../src/control/publication.js'
import { addService, CAPACITY, configOf, serviceId } from './fixtures.js'

type Step = 'prepare' | 'adopt' | 'takeOver' | 'forget'

const before = configOf([addService(serviceId('198.18.0.1'))])
const next = configOf([addService(serviceId('198.18.0.2'))], before)

/** Workers and host that remember what they follow; `failing` says which step breaks for whom. */
class Plane implements PublicationSteps<Config> {
  workers = before
  host = before
  prepared = 0
  readonly forgotten: Config[] = []
  readonly warnings: string[] = []
  readonly #failing: (step: Step, config: Config) => boolean

  constructor(failing: (step: Step, config: Config) => boolean) {
    this.#failing = failing
  }

  async #step(step: Step, config: Config, effect: () => void): Promise<void> {
    await Promise.resolve()
    // Half done: the effect may be there although the step fails.
    effect()
    if (this.#failing(step, config)) throw new Error(`${step} failed`)
  }

  async prepare(config: Config): Promise<Config> {
    await this.#step('prepare', config, () => this.prepared++)
    return config
  }

  adopt = (config: Config) => this.#step('adopt', config, () => (this.workers = config))
  takeOver = (config: Config) => this.#step('takeOver', config, () => (this.host = config))
  forget = (withdrawn: Config) =>
    this.#step('forget', withdrawn, () => this.forgotten.push(withdrawn))
  warn = (message: string) => void this.warnings.push(message)
}

describe('publication', () => {
  it('is in force for workers and host when nothing fails', async () => {
    const plane = new Plane(() => false)
    await publishOrRestore(plane, before, next)
    assert.equal(plane.workers, next)
    assert.equal(plane.host, next)
    assert.deepEqual(plane.forgotten, [])
  })

  it('touches nothing when the configuration is refused beforehand', async () => {
    const plane = new Plane((step) => step === 'prepare')
    plane.workers = plane.host = emptyConfig(CAPACITY)
    const untouched = plane.workers
    await assert.rejects(publishOrRestore(plane, before, next), /prepare failed/)
    assert.equal(plane.workers, untouched)
    assert.equal(plane.host, untouched)
    assert.equal(plane.prepared, 1)
  })

  for (const broken of ['adopt', 'takeOver'] as const) {
    it(`takes the change back everywhere when ${broken} fails`, async () => {
      const plane = new Plane((step, config) => step === broken && config === next)
      await assert.rejects(publishOrRestore(plane, before, next), new RegExp(`${broken} failed`))
      assert.equal(plane.workers, before)
      assert.equal(plane.host, before)
      assert.equal(plane.prepared, 2, 'the way back is a generation of its own')
      assert.deepEqual(plane.forgotten, [next])
      assert.deepEqual(plane.warnings, [])
    })
  }

  it('takes the host back also while a worker is silent, and tells the first failure', async () => {
    const plane = new Plane((step) => step === 'adopt')
    plane.host = next
    await assert.rejects(publishOrRestore(plane, before, next), /adopt failed/)
    assert.equal(plane.workers, before)
    assert.equal(plane.host, before)
    assert.deepEqual(plane.forgotten, [next])
    assert.equal(plane.warnings.length, 1)
    assert.match(plane.warnings[0], /refused change, the workers: adopt failed/)
  })
})
