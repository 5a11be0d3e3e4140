/** Where things are in the checkout, seen from compiled code. */
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The root of the checkout. */
export const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), '../../../..')

export const UVS = join(ROOT, 'bin/uvs')
export const IPVSADM = join(ROOT, 'bin/ipvsadm')

/** The compiled program of this folder with the given name. */
export function programPath(name: string): string {
  return join(ROOT, 'dist/test/e2e/support', `${name}.js`)
}
