import { Problem } from '../problems.ts'
import type { Provider, ProviderAnswer } from '../provider.ts'
import type { Begun } from './begin.ts'
import type { Verdict } from './settle.ts'

/**
 * The second phase: the provider, by the payment's own number, outside of any transaction. If an earlier attempt may
 * have asked already, it is asked first what became of that.
 * @throws {Problem} retryable, where the verdict is not known: the order stays as it is marked, for the next attempt
 */
export async function ask (provider: Provider, { payment, resumed }: Begun, attempt: number, act: () => Promise<ProviderAnswer>): Promise<Verdict> {
  let answer: ProviderAnswer = { status: 'missing' }
  if (resumed || attempt > 1) answer = await provider.query(payment)
  if (answer.status === 'missing') answer = await act()
  switch (answer.status) {
    case 'done':
    case 'declined':
      return answer
    case 'processing':
      throw new Problem(409, 'PAYMENT_IN_PROGRESS', 'The payment provider is still at work on it. Send it again with the same key.', {}, { retryable: true })
    default:
      throw new Problem(503, 'PROVIDER_UNAVAILABLE', 'The payment provider did not answer, and whether it acted is not known. Send it again with the same key.')
  }
}
