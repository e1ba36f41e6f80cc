import t from 'tap'
import { sendByUndici } from './helper.ts'
import { testRules } from './rules.ts'

testRules(t, sendByUndici(t))
