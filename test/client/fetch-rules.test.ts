import t from 'tap'
import { sendByFetch } from './helper.ts'
import { testRules } from './rules.ts'

testRules(t, sendByFetch)
