/** What a command needs from the world, so that tests can give it another one. */
import type { ControlClient } from '../api/client.js'
import type { Resolver } from './resolver.js'

export interface CliEnvironment {
  /** The name in usage hints. */
  readonly program: string
  readonly client: ControlClient
  readonly resolver: Resolver
  out(text: string): void
  err(text: string): void
  /** All of standard input. */
  readInput(): Promise<string>
}
