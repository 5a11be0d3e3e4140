/** Reads configuration and rules files. The I/O partner of the pure formats. */
import { readFileSync } from 'node:fs'
import { parseLine, UsageProblem } from '../cli/args.js'
import type { Resolver } from '../cli/resolver.js'
import { restoreLines } from '../cli/save-restore.js'
import type { PublicCommand } from '../model/commands.js'
import { ControlError } from '../model/errors.js'
import { parseNative } from './native-format.js'
import type { NativeConfig } from './native-format.js'

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new ControlError('CONFIG_BAD', `cannot read ${path}: ${(error as Error).message}`)
  }
}

/** Our own file. Throws ControlError with file and line. */
export function loadConfig(path: string): NativeConfig {
  const parsed = parseNative(readText(path), path)
  if (!parsed.ok) throw parsed.error
  return parsed.value
}

/**
 * The commands of an ipvsadm-save file. Lines that start with # are left out, as ipvsadm-restore
 * does. Throws ControlError with file and line.
 */
export async function loadRules(path: string, resolver: Resolver): Promise<PublicCommand[]> {
  const commands: PublicCommand[] = []
  const lines = readText(path).split('\n')
  for (const [i, line] of lines.entries()) {
    const [words] = line.startsWith('#') ? [] : restoreLines(line)
    if (words === undefined) continue
    try {
      const parsed = await parseLine(words, 'ipvsadm', resolver)
      if (parsed.kind !== 'change') throw new UsageProblem('only commands that change something')
      commands.push(parsed.change)
    } catch (error) {
      if (!(error instanceof UsageProblem)) throw error
      throw new ControlError('CONFIG_BAD', `${path}:${i + 1}: ${error.message.trim()}`)
    }
  }
  return commands
}
