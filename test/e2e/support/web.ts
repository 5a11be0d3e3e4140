/** HTTP from a test's point of view: who answered, how often. Runs web-client.ts on a host. */
import type { Host, Program } from '../../support/namespace.js'
import { waitFor } from '../../support/wait.js'
import { programPath } from './paths.js'
import type { WebResult, WebTask } from './web-client.js'

export type { WebResult, WebTask } from './web-client.js'

const RUN_LIMIT_MS = 60_000

/** Makes the requests of a task; resolves also when some failed: look at `failures`. */
export async function tryRequests(client: Host, task: WebTask): Promise<WebResult> {
  const command = [process.execPath, programPath('web-client'), JSON.stringify(task)]
  return JSON.parse(await client.expect(command, { limitMs: RUN_LIMIT_MS })) as WebResult
}

/** Makes the requests of a task; rejects when a single one fails, naming the first failures. */
export async function requests(client: Host, task: WebTask): Promise<WebResult> {
  return successful(await tryRequests(client, task))
}

/** How often each real server answered. */
export function countAnswers(result: WebResult): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const name of result.answers) counts[name] = (counts[name] ?? 0) + 1
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => a.localeCompare(b)))
}

/** Connections that stay open, one request made on each so far. */
export class HeldConnections {
  private readonly program: Program
  private rounds = 0

  private constructor(program: Program) {
    this.program = program
  }

  /** Opens them, one after the other unless the task says otherwise. */
  static async open(client: Host, task: WebTask): Promise<[HeldConnections, WebResult]> {
    const words = JSON.stringify({ ...task, hold: true })
    const held = new HeldConnections(
      client.spawn([process.execPath, programPath('web-client'), words]),
    )
    return [held, successful(await held.nextLine())]
  }

  /** One more request on every connection; some may fail: look at `failures`. */
  async again(): Promise<WebResult> {
    this.program.signal('SIGUSR2')
    return this.nextLine()
  }

  /** Closes them all. */
  async close(): Promise<void> {
    await this.program.stop()
  }

  private async nextLine(): Promise<WebResult> {
    this.rounds++
    const line = await waitFor(
      'the answers on held connections',
      () => {
        const lines = this.program.stdout.split('\n')
        if (lines.length > this.rounds) return lines[this.rounds - 1]
        if (!this.program.running) throw new Error(`web-client ended\n${this.program.stderr}`)
        return undefined
      },
      RUN_LIMIT_MS,
    )
    return JSON.parse(line) as WebResult
  }
}

function successful(result: WebResult): WebResult {
  const { failures } = result
  if (failures.length === 0) return result
  throw new Error(`${failures.length} requests failed; first:\n${failures.slice(0, 5).join('\n')}`)
}
