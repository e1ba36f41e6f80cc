import { Problem } from '../problems.ts'
import type { Provider, ProviderAnswer } from '../provider.ts'
import type { Begun } from './begin.ts'
import type { Verdict } from './settle.ts'

/**
 * The second phase: asks the provider, under the payment's own number and outside of any transaction. If an earlier
 * attempt may have asked, this one first queries the status of the payment.
 * @param act asks the provider to move the money
 * @throws {Problem} retryable, if the verdict is not known. The order keeps its status for the next attempt.
 */
export async function ask (
  provider: Provider,
  { payment, resumed }: Begun,
  attempt: number,
  act: () => Promise<ProviderAnswer>
): Promise<Verdict> {
  let answer: ProviderAnswer = { status: 'missing' }
  if (resumed || attempt > 1) answer = await provider.query(payment)
  if (answer.status === 'missing') answer = await act()
  switch (answer.status) {
    case 'done':
    case 'declined':
      return answer
    case 'processing':
      throw new Problem(409, 'PAYMENT_IN_PROGRESS',
        'The payment provider has not completed it yet. Send it again with the same key.', {}, { retryable: true })
    default:
      throw new Problem(503, 'PROVIDER_UNAVAILABLE',
        'The payment provider did not answer, and it is not known whether it acted. Send it again with the same key.')
  }
}
