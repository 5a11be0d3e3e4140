/** Parts that start in order and stop in the opposite order. */

export interface Part {
  readonly name: string
  /** Resolves with what stops it again. */
  start(): Promise<() => Promise<void>>
}

/**
 * Starts every part; if one fails, those already started are stopped and the error is thrown. The
 * result stops everything; a part that fails to stop does not keep the others from stopping.
 */
export async function startParts(
  parts: readonly Part[],
  onStopError: (name: string, error: unknown) => void,
): Promise<() => Promise<void>> {
  const started: { name: string; stop: () => Promise<void> }[] = []
  const stopAll = async () => {
    for (let part = started.pop(); part !== undefined; part = started.pop()) {
      try {
        await part.stop()
      } catch (error) {
        onStopError(part.name, error)
      }
    }
  }
  try {
    for (const part of parts) started.push({ name: part.name, stop: await part.start() })
  } catch (error) {
    await stopAll()
    throw error
  }
  return stopAll
}
