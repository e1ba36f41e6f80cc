import { register as globalRegister, Registry } from 'prom-client'
import type { Metric } from 'prom-client'
import { IdempotencyOptionError } from '../../shared/option-error.ts'
import { listen } from '../listen.ts'
import { gaugesOn, instrumentsOn } from './instruments.ts'
import { listenersOf } from './listeners.ts'
import { checkMetricsOptions } from './options.ts'
import type { IdempotencyMetricsOptions } from './options.ts'

export type { IdempotencyMetricsOptions } from './options.ts'

/**
 * Counts and measures, for Prometheus, what happens to requests with an idempotency key, in all apps of the process.
 * Call it once, where you set up the app's other metrics.
 *
 * ```ts
 * const stop = idempotencyMetrics({ register })
 * ```
 * @returns a function that stops the counting and removes the metrics from the registry. Scrape or push the metrics
 *   that you want to keep before you call it
 * @throws {IdempotencyOptionError} if an option is not what it must be, or the registry has metrics of these names
 */
export function idempotencyMetrics (options: IdempotencyMetricsOptions = {}): () => void {
  checkMetricsOptions(options)
  const { register = globalRegister, prefix = '', idempotency } = options
  // The metrics are made in a registry of their own first, so that the app's registry gets either all of them or none.
  const own = new Registry()
  const instruments = instrumentsOn(own, prefix)
  if (idempotency !== undefined) gaugesOn(own, prefix, idempotency)
  const metrics = own.getMetricsAsArray().map(({ name }) => ({ name, metric: own.getSingleMetric(name) as Metric }))
  for (const { name } of metrics) {
    if (register.getSingleMetric(name) !== undefined) {
      throw new IdempotencyOptionError(`fastify-idempotency/metrics: the registry has a metric "${name}" already: ` +
        'call idempotencyMetrics once a registry, or stop the one before, or set another prefix')
    }
  }
  for (const { metric } of metrics) register.registerMetric(metric)

  const stopListening = listen(listenersOf(instruments))
  return () => {
    stopListening()
    for (const { name, metric } of metrics) {
      // A second call must not remove a metric of the same name that was registered since the first call.
      if (register.getSingleMetric(name) === metric) register.removeSingleMetric(name)
    }
  }
}
