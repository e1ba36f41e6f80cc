import { Lane } from './lane.ts'
import type { Conditions, Sample } from './lane.ts'
import { percent } from './machine.ts'
import type { Mode } from './modes.ts'

export interface Rounds {
  /** How often every server is restarted: two processes with the same code are not equally fast. */
  generations: number
  /** The windows of each server. */
  rounds: number
}

/**
 * Measures modes in rounds, with one window of each mode in turn, so that all modes share a minute in which the machine
 * is slow. Returns the samples by mode, in the order of `modes`.
 */
export async function measureInRounds (
  modes: Mode[],
  { generations, rounds }: Rounds,
  conditions: Conditions,
  progress: (text: string) => void
): Promise<Map<Mode, Sample[]>> {
  const samples = new Map<Mode, Sample[]>(modes.map(mode => [mode, []]))
  for (let generation = 1; generation <= generations; generation++) {
    const lanes: Lane[] = []
    try {
      for (const mode of modes) {
        lanes.push(await Lane.open(mode, conditions))
        progress(`servers ${generation}/${generations}: ${mode.name} is warm`)
      }
      for (let round = 1; round <= rounds; round++) {
        for (const lane of lanes) {
          const sample = await lane.window()
          samples.get(lane.mode)?.push(sample)
          progress(
            `servers ${generation}/${generations}, round ${round}/${rounds}: ` +
              `${lane.mode.name} ${sample.cpu.toFixed(1)} µs${remark(sample)}`
          )
        }
      }
    } finally {
      await Promise.all(lanes.map(lane => lane.close()))
    }
  }
  return samples
}

function remark ({ repeated, disturbance }: Sample): string {
  if (disturbance?.isDisturbed === true) return `, disturbed by ${percent(disturbance.foreign)} of a core`
  return repeated === 0 ? '' : ', measured again'
}
