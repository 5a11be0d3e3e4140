/** `uvs sysctl`: the settings of net.ipv4.vs of a running director, shown and set. */
import type { InfoView } from '../api/views.js'
import { sysctlName } from '../model/sysctls.js'
import type { CliEnvironment } from './environment.js'

type Value = InfoView['sysctls'][string]

function textOf(value: Value): string {
  return typeof value === 'object' ? value.join(' ') : String(value)
}

/**
 * Sets what has a value, then shows what was named, everything when nothing was. Returns the exit
 * status: 1 when something could not be set or is not known, each with a line of its own.
 */
export async function runSysctl(
  words: readonly string[],
  json: boolean,
  { client, out, err }: CliEnvironment,
): Promise<number> {
  const asked = words.map((word) => {
    const [, name, value] = /^([^=]*)(?:=(.*))?$/s.exec(word) ?? ['', word, undefined]
    return { name: sysctlName(name), value }
  })
  const failed = new Map<string, string>()
  const sets = asked.flatMap(({ name, value }) =>
    value === undefined ? [] : [{ kind: 'setSysctl' as const, name, value }],
  )
  const outcomes = sets.length === 0 ? [] : await client.execute(sets)
  outcomes.forEach((outcome, i) => {
    if (!outcome.ok) failed.set(sets[i].name, outcome.message)
  })
  const { sysctls } = await client.info()
  const names = asked.length === 0 ? Object.keys(sysctls).sort() : asked.map(({ name }) => name)
  const shown: [string, Value][] = []
  for (const name of new Set(names)) {
    if (Object.hasOwn(sysctls, name)) {
      if (!failed.has(name)) shown.push([name, sysctls[name]])
    } else {
      const known = Object.keys(sysctls).sort().join(', ')
      failed.set(name, `unknown setting "${name}"; known are: ${known}`)
    }
  }
  if (json) out(`${JSON.stringify(Object.fromEntries(shown), null, 2)}\n`)
  else out(shown.map(([name, value]) => `${name} = ${textOf(value)}\n`).join(''))
  for (const message of failed.values()) err(`uvs: ${message}\n`)
  return failed.size > 0 ? 1 : 0
}
