import t from 'tap'
import { curl } from './command.ts'
import { startWays, testDrops } from './one-run.ts'

testDrops(t, 'curl', await startWays(t), () => curl)
