/*
 * The imports within `plugin/`, `demo-app/` and `sandbox-provider/` and between them, those of types included.
 * docs/architecture.md has the drawing. `npm run arrows` lists them; `npm run lint` refuses what these rules forbid.
 */
const inner = (...folders) => ({ path: `^plugin/(${folders.join('|')})/` })

export default {
  forbidden: [
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'core-knows-no-http',
      comment: 'core/ decides who owns a key. It serves requests and app.idempotency.run() alike.',
      severity: 'error',
      from: inner('core'),
      to: { path: '^plugin/(request|app|client|openapi|store-contract)/|^plugin/(index|plugin|routes|unprotected)\\.ts$' }
    },
    {
      name: 'store-stands-alone',
      comment: 'A store knows nothing of those who use it.',
      severity: 'error',
      from: inner('store'),
      to: { path: '^plugin/', pathNot: '^plugin/(store|shared)/|^plugin/errors\\.ts$' }
    },
    {
      name: 'plugin-stands-alone',
      comment: 'The package does not contain the demo.',
      severity: 'error',
      from: { path: '^plugin/' },
      to: { path: '^(demo-app|sandbox-provider)/' }
    },
    {
      name: 'provider-is-reached-by-http',
      comment: 'The payment service and the sandbox provider share nothing but HTTP, like two companies.',
      severity: 'error',
      from: { path: '^demo-app/' },
      to: { path: '^sandbox-provider/' }
    },
    {
      name: 'provider-stands-alone',
      comment: 'The sandbox provider knows nothing of its merchants and of the plugin.',
      severity: 'error',
      from: { path: '^sandbox-provider/' },
      to: { path: '^(demo-app|plugin)/' }
    }
  ],
  options: {
    includeOnly: '^(plugin|demo-app|sandbox-provider)/',
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' }
  }
}
