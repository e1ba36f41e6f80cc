import { register as globalRegister, Registry } from 'prom-client'
import type { Metric } from 'prom-client'
import { IdempotencyOptionError } from '../../errors.ts'
import { gaugesOn, instrumentsOn } from './instruments.ts'
import { listen } from '../listen.ts'
import { listenersOf } from './listeners.ts'
import { checkOptions } from './options.ts'
import type { IdempotencyMetricsOptions } from './options.ts'

export type { IdempotencyMetricsOptions } from './options.ts'

/**
 * Counts and measures, for Prometheus, what happens to requests with an idempotency key, in all apps of the process.
 * Call it once, where the app's other metrics are set up.
 *
 * ```ts
 * const stop = idempotencyMetrics({ register })
 * ```
 * @returns what ends it: nothing is counted any more, and the registry is as it was before. Scrape or push first what
 *   is to be kept
 * @throws {IdempotencyOptionError} if an option is not what it should be, or the registry has metrics of these names
 */
export function idempotencyMetrics (options: IdempotencyMetricsOptions = {}): () => void {
  checkOptions(options)
  const { register = globalRegister, prefix = '', idempotency } = options
  // Not on the app's at once: either all metrics get there, or none.
  const own = new Registry()
  const instruments = instrumentsOn(own, prefix)
  if (idempotency !== undefined) gaugesOn(own, prefix, idempotency)
  const metrics = own.getMetricsAsArray().map(({ name }) => ({ name, metric: own.getSingleMetric(name) as Metric }))
  for (const { name } of metrics) {
    if (register.getSingleMetric(name) !== undefined) {
      throw new IdempotencyOptionError(`fastify-idempotency/metrics: the registry has a metric "${name}" already: call idempotencyMetrics once a registry, or stop the one before, or set another prefix`)
    }
  }
  for (const { metric } of metrics) register.registerMetric(metric)

  const stopListening = listen(listenersOf(instruments))
  return () => {
    stopListening()
    for (const { name, metric } of metrics) {
      // Called once too often it must not take away what has the name since.
      if (register.getSingleMetric(name) === metric) register.removeSingleMetric(name)
    }
  }
}
