/**
 * Error numbers as they travel in netlink acknowledgements and as setsockopt gives them, and the
 * result type of everything that reads a message. Numbers: Linux, asm-generic/errno-base.h and
 * asm-generic/errno.h (the same on x86 and arm).
 */
import type { Errno } from '../model/errors.js'

/** Name -> number: what the model refuses with and what only the wire knows. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  ESRCH: 3,
  EINTR: 4,
  EIO: 5,
  E2BIG: 7,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  ENODEV: 19,
  EINVAL: 22,
  ENOSPC: 28,
  ERANGE: 34,
  EMSGSIZE: 90,
  ENOPROTOOPT: 92,
  EPROTONOSUPPORT: 93,
  EOPNOTSUPP: 95,
  EAFNOSUPPORT: 97,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
  ENETDOWN: 100,
  ENOBUFS: 105,
  ETIMEDOUT: 110,
} as const satisfies Record<Errno, number> & Record<string, number>

export type WireErrno = keyof typeof ERRNO

const NAMES: ReadonlyMap<number, WireErrno> = new Map(
  (Object.keys(ERRNO) as WireErrno[]).map((name) => [ERRNO[name], name]),
)

/** The name of a positive error number; undefined where the list has none. */
export function errnoName(number: number): WireErrno | undefined {
  return NAMES.get(number)
}

/** What reading a message gives: a value, or the positive number the kernel refuses with. */
export type WireResult<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly errno: number }

/** A value that was read. */
export function accept<T>(value: T): WireResult<T> {
  return { ok: true, value }
}

/** A refusal with the number of `name`. */
export function refuse(name: WireErrno): { readonly ok: false; readonly errno: number } {
  return { ok: false, errno: ERRNO[name] }
}
