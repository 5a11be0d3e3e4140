/**
 * Every way a request can be refused: a stable code, the kernel's errno for the same case (spec
 * 1.3, 1.4, 9.2), and the sentence ipvsadm 1.31 prints for that errno. One list serves the model,
 * the API and the command line.
 */

export const ERRNO_TEXT = {
  EPERM: 'Operation not permitted',
  ENOENT: 'No such file or directory',
  ESRCH: 'No such process',
  ENOMEM: 'Cannot allocate memory',
  EEXIST: 'File exists',
  EINVAL: 'Invalid argument',
  ERANGE: 'Numerical result out of range',
  EOPNOTSUPP: 'Operation not supported',
  EAFNOSUPPORT: 'Address family not supported by protocol',
  EIO: 'Input/output error',
  ENODEV: 'No such device',
} as const

export type Errno = keyof typeof ERRNO_TEXT

/**
 * code -> errno, and whether the case exists in the kernel. Cases the kernel does not know (`own`)
 * are shown with our own sentence even by the ipvsadm command.
 */
export const ERRORS = {
  SCHEDULER_UNKNOWN: { errno: 'ENOENT', own: false },
  ENGINE_UNKNOWN: { errno: 'ENOENT', own: false },
  NETMASK_BAD: { errno: 'EINVAL', own: false },
  SERVICE_EXISTS: { errno: 'EEXIST', own: false },
  SERVICE_UNKNOWN: { errno: 'ESRCH', own: false },
  DESTINATION_EXISTS: { errno: 'EEXIST', own: false },
  DESTINATION_UNKNOWN: { errno: 'ENOENT', own: false },
  WEIGHT_RANGE: { errno: 'ERANGE', own: false },
  THRESHOLD_RANGE: { errno: 'ERANGE', own: false },
  THRESHOLD_TOO_BIG: { errno: 'EINVAL', own: false },
  TUNNEL_PORT_MISSING: { errno: 'EINVAL', own: false },
  ADDRESS_NOT_UNICAST: { errno: 'EINVAL', own: false },
  FAMILY_MIXED: { errno: 'EINVAL', own: false },
  TIMEOUT_RANGE: { errno: 'EINVAL', own: false },
  GROUP_NOT_MULTICAST: { errno: 'EINVAL', own: false },
  DAEMON_MIXED_FAMILIES: { errno: 'EINVAL', own: false },
  INTERFACE_UNKNOWN: { errno: 'ENODEV', own: false },
  DAEMON_RUNNING: { errno: 'EEXIST', own: false },
  DAEMON_NOT_RUNNING: { errno: 'ESRCH', own: false },
  /** No kernel module, or an answer of the kernel that nothing above stands for. */
  IPVS_ABSENT: { errno: 'ENOENT', own: true },
  KERNEL_REFUSED: { errno: 'EIO', own: true },
  TABLE_FULL: { errno: 'ENOMEM', own: true },
  NOT_SUPPORTED: { errno: 'EOPNOTSUPP', own: true },
  LOCAL_ADDRESS_EXISTS: { errno: 'EEXIST', own: true },
  LOCAL_ADDRESS_UNKNOWN: { errno: 'ENOENT', own: true },
  LOCAL_ADDRESS_FAMILY: { errno: 'EINVAL', own: true },
  PROXY_PROTOCOL_BAD: { errno: 'EINVAL', own: true },
  SYSCTL_UNKNOWN: { errno: 'ENOENT', own: true },
  SYSCTL_VALUE: { errno: 'EINVAL', own: true },
  REQUEST_BAD: { errno: 'EINVAL', own: true },
  PERMISSION: { errno: 'EPERM', own: false },
  DATAPLANE_FAILED: { errno: 'EIO', own: true },
  DAEMON_ABSENT: { errno: 'EIO', own: true },
  SOCKET_IN_USE: { errno: 'EEXIST', own: true },
  CONFIG_BAD: { errno: 'EINVAL', own: true },
} as const satisfies Record<string, { errno: Errno; own: boolean }>

export type ErrorCode = keyof typeof ERRORS

/** An operating error: a code for programs and a sentence that says what to do. */
export class ControlError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string) {
    super(message)
    this.name = 'ControlError'
    this.code = code
  }

  get errno(): Errno {
    return ERRORS[this.code].errno
  }
}

/** What a pure function that may refuse returns. */
export type Result<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: ControlError }

/** A successful result. */
export function success<T>(value: T): Result<T> {
  return { ok: true, value }
}

/** A refusal with its code and sentence. */
export function failure(code: ErrorCode, message: string): Result<never> {
  return { ok: false, error: new ControlError(code, message) }
}

/** True for a name of the list above; used where a code arrives over the wire. */
export function isErrorCode(name: unknown): name is ErrorCode {
  return typeof name === 'string' && Object.hasOwn(ERRORS, name)
}

/** The call that failed, in ipvsadm's view of the kernel interface. */
export type KernelCall =
  | 'addService'
  | 'editService'
  | 'deleteService'
  | 'zero'
  | 'listService'
  | 'addDestination'
  | 'editDestination'
  | 'deleteDestination'
  | 'startDaemon'
  | 'stopDaemon'
  | 'other'

/** Texts that depend on the call (spec 10.5). */
const CALL_TEXT: Partial<Record<KernelCall, Partial<Record<Errno, string>>>> = {
  addService: {
    EEXIST: 'Service already exists',
    ENOENT: 'Scheduler or persistence engine not found',
  },
  editService: {
    ESRCH: 'No such service',
    ENOENT: 'Scheduler or persistence engine not found',
  },
  deleteService: { ESRCH: 'No such service' },
  zero: { ESRCH: 'No such service' },
  listService: { ESRCH: 'No such service' },
  addDestination: { ESRCH: 'Service not defined', EEXIST: 'Destination already exists' },
  editDestination: { ESRCH: 'Service not defined', ENOENT: 'No such destination' },
  deleteDestination: { ESRCH: 'Service not defined', ENOENT: 'No such destination' },
  startDaemon: { EEXIST: 'Daemon has already run' },
  stopDaemon: { ESRCH: 'No daemon is running' },
}

/** Texts that do not depend on the call. */
const GENERAL_TEXT: Partial<Record<Errno, string>> = {
  EPERM: 'Permission denied (you must be root)',
  EINVAL: 'Invalid operation.  Possibly wrong module version, address not unicast, ...',
  ENOMEM: 'Memory allocation problem',
  EOPNOTSUPP: 'Operation not supported with IPv6',
  EAFNOSUPPORT: 'Operation not supported with specified address family',
}

/** What ipvsadm 1.31 prints when `call` fails with `errno`. */
export function ipvsadmText(call: KernelCall, errno: Errno): string {
  return CALL_TEXT[call]?.[errno] ?? GENERAL_TEXT[errno] ?? ERRNO_TEXT[errno]
}

/** Exit statuses of the ipvsadm command (spec 10.5). */
export const IPVSADM_EXIT = { OK: 0, LIST_FAILED: 1, USAGE: 2, KERNEL: 255, SYNTAX: 255 } as const
