/** What the real ipvsadm printed for each case. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ERRNOS } from './cases.js'

/** The directory of the sources; compiled files are in dist/test/compat. */
export const SOURCE_DIRECTORY = fileURLToPath(new URL('../../../test/compat', import.meta.url))

export interface Recording {
  readonly argv: readonly string[]
  readonly state: 'small' | 'large'
  /** What the kernel answered to changes; empty for success. */
  readonly errno: keyof typeof ERRNOS | ''
  readonly input: string
  readonly status: number
  readonly stdout: string
  readonly stderr: string
  /** What was asked of the kernel, as the shim writes it. */
  readonly calls: readonly string[]
}

export function recordings(): Recording[] {
  return readFileSync(join(SOURCE_DIRECTORY, 'recorded.jsonl'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Recording)
}
