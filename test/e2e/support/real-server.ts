/**
 * A real server's web server: answers every request with its own name.
 *
 *   node real-server.js NAME PORT...
 *
 * `/bytes/N` gives N bytes instead, `/peer` the name and the address the request came from. SIGUSR2
 * prints `served N`: requests since the start.
 */
import { createServer } from 'node:http'
import process from 'node:process'

const BYTES_MAX = 64 << 20

const [name, ...ports] = process.argv.slice(2)
let served = 0

for (const port of ports) {
  const web = createServer((request, response) => {
    served++
    const wanted = /^\/bytes\/(\d+)$/.exec(request.url ?? '')?.[1]
    const peer = request.socket.remoteAddress?.replace('::ffff:', '')
    const text = request.url === '/peer' ? `${name} ${peer}` : name
    const body = wanted === undefined ? text : Buffer.alloc(Math.min(Number(wanted), BYTES_MAX), 46)
    response.writeHead(200, { 'content-type': 'text/plain', 'content-length': body.length })
    // Only when the whole request is here: uploads are tested too.
    request.resume().once('end', () => response.end(body))
  })
  // A connection held open between requests is part of what is tested; so are many at once.
  web.keepAliveTimeout = 0
  web.listen({ port: Number(port), host: '::', backlog: 4096 })
}

process.on('SIGUSR2', () => console.log(`served ${served}`))
