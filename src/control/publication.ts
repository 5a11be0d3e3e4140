/**
 * One change of the data plane's configuration as a transaction: it is in force as a whole or, when
 * anything fails, the configuration before it is. The steps themselves are the data plane's.
 */
import type { Config } from './model/config.js'

/** The steps of a change; `Prepared` is what workers adopt. */
export interface PublicationSteps<Prepared> {
  /** Everything that can refuse a configuration beforehand. Changes nothing. */
  prepare(config: Config): Promise<Prepared>
  /** Resolves when every worker has adopted it; when it rejects, some of them may have. */
  adopt(prepared: Prepared): Promise<void>
  /** After the workers: the host's part. When it rejects, it may be half done. */
  takeOver(config: Config): Promise<void>
  /** Ends what came to be through a configuration that is withdrawn. */
  forget(withdrawn: Config, kept: Config): Promise<void>
  /** A step of the way back failed; the others are still taken. */
  warn(message: string): void
}

/** Makes `next` the configuration. Rejects with the first failure; then `before` is in force. */
export async function publishOrRestore<Prepared>(
  steps: PublicationSteps<Prepared>,
  before: Config,
  next: Config,
): Promise<void> {
  const prepared = await steps.prepare(next)
  try {
    await steps.adopt(prepared)
    await steps.takeOver(next)
  } catch (error) {
    await restore(steps, before, next)
    throw error
  }
}

/**
 * Each step is taken whether or not the one before it worked: a worker that is silent now adopts
 * the newest configuration when it is back, and the host's part does not need it.
 */
async function restore<Prepared>(
  steps: PublicationSteps<Prepared>,
  before: Config,
  withdrawn: Config,
): Promise<void> {
  const attempt = async (what: string, step: () => Promise<void>): Promise<void> => {
    try {
      await step()
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      steps.warn(`while taking back a refused change, ${what}: ${why}`)
    }
  }
  await attempt('the workers', async () => steps.adopt(await steps.prepare(before)))
  await attempt('the host', () => steps.takeOver(before))
  await attempt('its connections', () => steps.forget(withdrawn, before))
}
