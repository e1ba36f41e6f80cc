import t from 'tap'
import { buildGo } from './command.ts'
import { startWays, testDrops } from './one-run.ts'

const [ways, pay] = await Promise.all([startWays(t), buildGo(t)])
testDrops(t, 'Go', ways, () => pay)
