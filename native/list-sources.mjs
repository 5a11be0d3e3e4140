// Prints the addon's source files, one per line, relative to this folder and in a fixed order.
// binding.gyp calls it at configure time; scripts/build-native.mjs calls it to notice new files.
import { readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { argv } from 'node:process'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))

/** Names every .cc file of the addon; the fuzz targets and the build folder are not part of it. */
export function addonSources() {
  return readdirSync(here, { recursive: true })
    .filter((name) => name.endsWith('.cc') && !name.startsWith('build/'))
    .filter((name) => !name.endsWith('_fuzz.cc') && !name.endsWith('_test.cc'))
    .sort()
}

if (argv[1] === fileURLToPath(import.meta.url)) console.log(addonSources().join('\n'))
