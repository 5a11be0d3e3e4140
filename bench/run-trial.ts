/** Runs one trial in this process and prints its number; called by index.ts only. */
import * as core from './core-trials.js'
import * as maglev from './maglev-trials.js'

const [suite, trial, params] = process.argv.slice(2)
const { method, scheduler, connections, destinations, quick } = JSON.parse(params) as {
  method: string
  scheduler: string
  connections: number
  destinations: number
  quick: boolean
}

function run(): number | Promise<number> {
  switch (`${suite}/${trial}`) {
    case 'core/hit':
      return core.hit(method, connections, quick)
    case 'core/new':
      return core.fresh(scheduler, quick)
    case 'core/synproxy':
      return core.synFlood(quick)
    case 'core/memory':
      return core.memory(method, quick)
    case 'maglev/first':
      return maglev.build(destinations, false)
    case 'maglev/build':
      return maglev.build(destinations, true)
    default:
      throw new Error(`no such trial: ${suite}/${trial}`)
  }
}

console.log(JSON.stringify({ value: await run() }))
