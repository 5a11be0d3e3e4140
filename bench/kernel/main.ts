/**
 * `npm run kernel -- [--limit SEC] [--warp] COMMAND [ARGS...]`: runs a command where the kernel has
 * IPVS (rig.ts), with its output and exit status.
 */
import { parseArgs } from 'node:util'
import { runWithIpvs } from './rig.js'

const LIMIT_SEC = 300

async function main(argv: readonly string[]): Promise<number> {
  const first = argv.findIndex((word, i) => !word.startsWith('-') && argv[i - 1] !== '--limit')
  const { values } = parseArgs({
    args: first < 0 ? [...argv] : argv.slice(0, first),
    options: { limit: { type: 'string' }, warp: { type: 'boolean', default: false } },
  })
  const limitSec = Number(values.limit ?? LIMIT_SEC)
  if (first < 0 || !(limitSec > 0)) {
    console.error('usage: npm run kernel -- [--limit SEC] [--warp] COMMAND [ARGS...]')
    return 2
  }
  const words = argv.slice(first)
  // One word is a command line; several are a command with its arguments.
  const command = words.length === 1 ? words[0] : words.map(quoted).join(' ')
  const { status } = await runWithIpvs(command, {
    limitSec,
    clock: values.warp ? 'warped' : 'real',
    onOutput: (text, stream) => void process[stream].write(text),
  })
  return status
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  console.error(`kernel rig: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
