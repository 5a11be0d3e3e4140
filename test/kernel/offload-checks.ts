/** The checks of inside/offload.ts in their order; each goes on from where the one before ended. */
export const OFFLOAD_CHECKS = [
  'applies the configuration before it is ready, beside a foreign service',
  'carries every kind of command to the kernel',
  'shows the kernel’s counters, rates and connections',
  'puts right what another program changes, and leaves what is not its own',
  'keeps a service of another program, also when a command names it',
  'starts and stops the kernel’s synchronisation daemon',
  'refuses as the kernel does, and names what only the packet workers do',
  'goes on after kill -9 without touching what stays, and removes what went',
  'lets no second director in',
  'leaves nothing of its own behind',
  'gives everything back when its first configuration is refused half-way',
  'removes services of others when told to',
  'leaves timeouts alone that it never set, also after kill -9',
  'without --offload, removes what a killed director left in the kernel',
  'lets keepalived, through the shim, check real servers and change the kernel’s weights',
] as const

export type OffloadCheck = (typeof OFFLOAD_CHECKS)[number]
