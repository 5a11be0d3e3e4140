/** Runs iproute2's `ip`, a run-time requirement of uvs, and turns its failures into sentences. */
import { execFile } from 'node:child_process'
import { ControlError } from '../model/errors.js'

const LIMIT_MS = 10_000
const OUTPUT_MAX_BYTES = 64 << 20

/** How a program is run; tests bring their own. */
export type RunIp = (args: readonly string[], input?: string) => Promise<string>

/** `ip ARGS`, given `input` on stdin; resolves to its output, rejects with a ControlError. */
export const runIp: RunIp = (args, input) =>
  new Promise((resolve, reject) => {
    const options = { timeout: LIMIT_MS, maxBuffer: OUTPUT_MAX_BYTES }
    const child = execFile('ip', [...args], options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout)
      else reject(failure(args, error, stderr))
    })
    // A child that ends early closes its end; its status says more than the write error.
    child.stdin?.on('error', () => undefined).end(input ?? '')
  })

function failure(
  args: readonly string[],
  error: Error & { code?: unknown },
  stderr: string,
): ControlError {
  if (error.code === 'ENOENT') {
    return new ControlError('DATAPLANE_FAILED', 'the "ip" command is missing: install iproute2')
  }
  const said = stderr.trim().replace(/\s*\n\s*/g, '; ') || error.message.split('\n')[0]
  const code = /Operation not permitted/.test(said) ? 'PERMISSION' : 'DATAPLANE_FAILED'
  return new ControlError(code, `"ip ${args.join(' ')}" failed: ${said}`)
}
