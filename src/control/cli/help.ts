/** The texts of ipvsadm --help and --version. */
import { readFileSync } from 'node:fs'

export const VERSION_LINE = 'ipvsadm v1.31 2019/12/24 (compiled with popt and IPVS v1.2.1)\n'
