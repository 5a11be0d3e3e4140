import type { Figure } from '../report.js'
export async function runNet(_o: {
  quick: boolean
  only: string
  rounds: number
}): Promise<Figure[]> {
  return []
}
