/** Waiting for something real to become true, with a limit: the tests' only way to wait. */
import { setTimeout as pause } from 'node:timers/promises'

/** How often a condition is looked at: never a guess at how long things take. */
const POLL_MS = 10
const DEFAULT_LIMIT_MS = 10_000

/**
 * Resolves to the first result of `condition` that is not undefined or false; rejects after
 * `limitMs` with a message that names `what`. An error thrown by the condition ends the wait.
 */
export async function waitFor<T>(
  what: string,
  condition: () => T | undefined | false | Promise<T | undefined | false>,
  limitMs = DEFAULT_LIMIT_MS,
): Promise<T> {
  const deadline = performance.now() + limitMs
  for (;;) {
    const result = await condition()
    if (result !== undefined && result !== false) return result
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms for ${what}`)
    await pause(POLL_MS)
  }
}
