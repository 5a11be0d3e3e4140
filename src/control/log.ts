/** One line per event on stderr: readable on a terminal, JSON for collectors. */
import type { Clock } from './clock.js'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFormat = 'text' | 'json'
export type LogFields = Readonly<Record<string, string | number | boolean>>

export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

/** A log that hands finished lines (without newline) to `write`; `now` gives milliseconds. */
export function createLog(
  format: LogFormat,
  write: (line: string) => void,
  now: () => number,
): Log {
  const emit = (level: LogLevel, message: string, fields: LogFields = {}) => {
    const time = new Date(now()).toISOString()
    write(
      format === 'json'
        ? JSON.stringify({ time, level, message, ...fields })
        : textLine(time, level, message, fields),
    )
  }
  return {
    debug: (message, fields) => emit('debug', message, fields),
    info: (message, fields) => emit('info', message, fields),
    warn: (message, fields) => emit('warn', message, fields),
    error: (message, fields) => emit('error', message, fields),
  }
}

/** For lines that others can cause: hands on one message in `periodMs`, the others are dropped. */
export function atMostEvery(
  periodMs: number,
  say: (message: string) => void,
  clock: Pick<Clock, 'monotonicMs'>,
): (message: string) => void {
  let lastMs = -Infinity
  return (message) => {
    const nowMs = clock.monotonicMs()
    if (nowMs - lastMs < periodMs) return
    lastMs = nowMs
    say(message)
  }
}

function textLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  const tail = Object.entries(fields).map(([name, value]) => ` ${name}=${String(value)}`)
  return `${time} ${level.padEnd(5)} ${message.replaceAll('\n', ' ')}${tail.join('')}`
}
