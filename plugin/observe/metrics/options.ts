import { validateMetricName } from 'prom-client'
import type { OpenMetricsContentType, PrometheusContentType, Registry } from 'prom-client'
import { checkOptions, hasMethods } from '../../shared/check-options.ts'
import type { RulesOf } from '../../shared/check-options.ts'
import type { Idempotency } from '../../types.ts'

/** What `idempotencyMetrics` takes. */
export interface IdempotencyMetricsOptions {
  /** Where the metrics are registered. Default: the global registry of prom-client. */
  register?: Registry<PrometheusContentType> | Registry<OpenMetricsContentType>
  /** What every metric's name begins with, such as `'shop_'`. Default: nothing. */
  prefix?: string
  /** `app.idempotency`: adds gauges of what this app does at the moment, which events cannot report. */
  idempotency?: Pick<Idempotency, 'stats'>
}

const RULES: RulesOf<IdempotencyMetricsOptions> = {
  register: hasMethods('a Registry of prom-client', ['registerMetric', 'getSingleMetric', 'removeSingleMetric']),
  prefix: aMetricPrefix,
  idempotency: hasMethods('app.idempotency', ['stats'])
}

/** @throws {IdempotencyOptionError} that names the option and what it must be */
export function checkMetricsOptions (options: IdempotencyMetricsOptions): void {
  checkOptions('fastify-idempotency/metrics', RULES, options)
}

function aMetricPrefix (value: unknown): string | undefined {
  const isCorrect = typeof value === 'string' && validateMetricName(`${value}idempotency`)
  return isCorrect ? undefined : 'what the name of a metric can start with'
}
