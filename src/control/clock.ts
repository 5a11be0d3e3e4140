/** Time as an argument: the real clock, and the interface that tests replace. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. */
  wallMs(): number
  /** Monotonic milliseconds. */
  monotonicMs(): number
  /** Calls `action` every `periodMs` until the returned function is called. */
  every(periodMs: number, action: () => void): () => void
  /** Calls `action` once, `delayMs` from now and never before; not at all after the stop. */
  after(delayMs: number, action: () => void): () => void
}

/** The host's clock. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  every(periodMs, action) {
    const timer = setInterval(action, periodMs)
    timer.unref()
    return () => clearInterval(timer)
  },
  after(delayMs, action) {
    const dueMs = performance.now() + delayMs
    let timer: NodeJS.Timeout | undefined
    // A timer counts from when its turn of the event loop began, which may be some time ago.
    const look = (): void => {
      const leftMs = dueMs - performance.now()
      if (leftMs <= 0) return action()
      timer = setTimeout(look, Math.ceil(leftMs))
      timer.unref()
    }
    look()
    return () => clearTimeout(timer)
  },
}
