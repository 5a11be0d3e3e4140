/** Time as an argument: the real clock, and the interface that tests replace. */
export interface Clock {
  /** Wall clock, milliseconds since 1970. */
  wallMs(): number
  /** Monotonic milliseconds. */
  monotonicMs(): number
  /** Calls `action` every `periodMs` until the returned function is called. */
  every(periodMs: number, action: () => void): () => void
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
}
