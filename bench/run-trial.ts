/** Runs one trial in this process and prints its number; called by index.ts only. */
import * as core from './core-trials.js'

const [suite, trial, params] = process.argv.slice(2)
const { method, scheduler, connections, quick } = JSON.parse(params) as {
  method: string
  scheduler: string
  connections: number
  quick: boolean
}

function run(): number {
  switch (`${suite}/${trial}`) {
    case 'core/hit':
      return core.hit(method, connections, quick)
    case 'core/new':
      return core.fresh(scheduler, quick)
    case 'core/synproxy':
      return core.synFlood(quick)
    case 'core/memory':
      return core.memory(method, quick)
    default:
      throw new Error(`no such trial: ${suite}/${trial}`)
  }
}

console.log(JSON.stringify({ value: run() }))
