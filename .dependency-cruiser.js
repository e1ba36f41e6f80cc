/*
 * The arrows between the rooms of `plugin/`, of types too. docs/architecture.md has the drawing.
 * `npm run arrows` lists them; `npm run lint` refuses what these rules forbid.
 */
const inner = (...folders) => ({ path: `^plugin/(${folders.join('|')})/` })

export default {
  forbidden: [
    { name: 'no-circles', severity: 'error', from: { path: '^plugin/' }, to: { circular: true } },
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
    }
  ],
  options: {
    includeOnly: '^plugin/',
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' }
  }
}
