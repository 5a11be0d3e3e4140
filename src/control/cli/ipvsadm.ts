/** The ipvsadm command: one line in, text and an exit status out (spec 10). */
import { ControlError, ERRORS, IPVSADM_EXIT, ipvsadmText } from '../model/errors.js'
import type { ErrorCode, KernelCall } from '../model/errors.js'
import type { PublicCommand } from '../model/commands.js'
import type { Outcome } from '../api/views.js'
import { parseLine, UsageProblem } from './args.js'
import type { ListRequest, Parsed } from './args.js'
import type { CliEnvironment } from './environment.js'
import { HELP_TEXT, VERSION_LINE } from './help.js'
import { endpointText, runList } from './run-list.js'
import { localAddressTable } from './list.js'
import { restoreLines, saveText } from './save-restore.js'
import { shownService } from './shown.js'

/** Runs one command line; returns the exit status. Never throws for operating errors. */
export async function runIpvsadm(
  argv: readonly string[],
  environment: CliEnvironment,
): Promise<number> {
  try {
    // No argument at all lists everything, with names.
    const line = argv.length === 0 ? ['-L'] : argv
    const parsed = await parseLine(line, environment.program, environment.resolver)
    if (parsed.kind === 'restore') return await restore(environment)
    return await runParsed(parsed, environment)
  } catch (error) {
    return report(error, environment)
  }
}

async function runParsed(parsed: Parsed, environment: CliEnvironment): Promise<number> {
  switch (parsed.kind) {
    case 'help':
      environment.out(HELP_TEXT)
      return IPVSADM_EXIT.OK
    case 'version':
      environment.out(VERSION_LINE)
      return IPVSADM_EXIT.OK
    case 'change': {
      const [outcome] = await environment.client.execute([parsed.change])
      return settle(parsed.change, outcome, environment)
    }
    case 'list':
    case 'save':
    case 'localAddresses':
      return runReading(parsed, environment)
    case 'restore':
      throw new UsageProblem(tryHelp(environment), IPVSADM_EXIT.SYNTAX)
  }
}

async function runReading(
  parsed: { readonly kind: 'list' | 'save' | 'localAddresses' } & ListRequest,
  environment: CliEnvironment,
): Promise<number> {
  try {
    if (parsed.kind === 'list') await runList(parsed, environment)
    else await runServices(parsed, environment)
    return IPVSADM_EXIT.OK
  } catch (error) {
    if (!(error instanceof ControlError)) throw error
    environment.err(`${messageFor('listService', error.code, error.message)}\n`)
    return IPVSADM_EXIT.LIST_FAILED
  }
}

/** -S and -G. */
async function runServices(
  parsed: { readonly kind: string } & ListRequest,
  environment: CliEnvironment,
): Promise<void> {
  const views = await environment.client.services(parsed.service)
  if (parsed.given.has('json')) {
    environment.out(`${JSON.stringify(views, null, 2)}\n`)
    return
  }
  const services = views.map(shownService)
  const text = await endpointText(services, parsed.given.has('numeric'), environment.resolver)
  const format = parsed.kind === 'save' ? saveText : localAddressTable
  environment.out(format(services, text))
}

function tryHelp({ program }: CliEnvironment): string {
  return `Try \`${program} -h' or '${program} --help' for more information.`
}

const CALLS: Partial<Record<PublicCommand['kind'], KernelCall>> = {
  addService: 'addService',
  editService: 'editService',
  deleteService: 'deleteService',
  zero: 'zero',
  addDestination: 'addDestination',
  editDestination: 'editDestination',
  deleteDestination: 'deleteDestination',
  startDaemon: 'startDaemon',
  stopDaemon: 'stopDaemon',
}

function messageFor(call: KernelCall, code: ErrorCode, message: string): string {
  const { errno, own } = ERRORS[code]
  return own ? message : ipvsadmText(call, errno)
}

function settle(
  command: PublicCommand,
  outcome: Outcome | undefined,
  environment: CliEnvironment,
): number {
  if (outcome?.ok === true) return IPVSADM_EXIT.OK
  const refused = outcome ?? { code: 'REQUEST_BAD' as const, message: 'the daemon did not answer' }
  const call = CALLS[command.kind] ?? 'other'
  environment.err(`${messageFor(call, refused.code, refused.message)}\n`)
  return IPVSADM_EXIT.KERNEL
}

function report(error: unknown, environment: CliEnvironment): number {
  if (error instanceof UsageProblem) {
    environment.err(`${error.message}\n`)
    return error.exitCode
  }
  if (error instanceof ControlError) {
    environment.err(`${messageFor('other', error.code, error.message)}\n`)
    return IPVSADM_EXIT.KERNEL
  }
  throw error
}

/** Commands sent to the daemon at once; it publishes a batch as one change. */
const BATCH_MAX = 1000

/**
 * -R: each line is a command line. Refusals are reported and the next line goes on; a mistake the
 * tool itself finds ends everything; the status is that of the last line.
 */
async function restore(environment: CliEnvironment): Promise<number> {
  let status: number = IPVSADM_EXIT.OK
  let pending: PublicCommand[] = []
  const send = async () => {
    if (pending.length === 0) return
    const commands = pending
    pending = []
    const outcomes = await environment.client.execute(commands)
    commands.forEach((command, i) => {
      status = settle(command, outcomes[i], environment)
    })
  }
  for (const words of restoreLines(await environment.readInput())) {
    let parsed: Parsed
    try {
      parsed = await parseLine(words, environment.program, environment.resolver)
    } catch (error) {
      await send()
      if (!(error instanceof UsageProblem) || error.fatal) throw error
      status = report(error, environment)
      continue
    }
    if (parsed.kind === 'change') {
      pending.push(parsed.change)
      if (pending.length >= BATCH_MAX) await send()
      continue
    }
    await send()
    status = await runParsed(parsed, environment)
    if (parsed.kind === 'help' || parsed.kind === 'version') return status
  }
  await send()
  return status
}
