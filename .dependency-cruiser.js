/*
 * The imports within `plugin/`, `demo-app/` and `sandbox-provider/` and between them, those of types included.
 * docs/architecture.md has the drawing. `npm run arrows` lists them; `npm run lint` refuses what these rules forbid.
 */

/** A rule: `folder` imports only itself and `allowed`, which are folders of plugin/ or files at its root. */
function importsOnly (folder, allowed, comment) {
  const folders = [folder, ...allowed.filter(name => !name.endsWith('.ts'))]
  const files = allowed.filter(name => name.endsWith('.ts')).map(name => name.replace('.', '\\.'))
  const pathNot = [`^plugin/(${folders.join('|')})/`, ...files.map(name => `^plugin/${name}$`)]
  return {
    name: `${folder}-imports-only-what-lies-below`,
    comment,
    severity: 'error',
    from: { path: `^plugin/${folder}/` },
    to: { path: '^plugin/', pathNot }
  }
}

const BELOW = ['shared', 'errors.ts']

export default {
  forbidden: [
    { name: 'no-circles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'nothing-imports-the-wiring',
      severity: 'error',
      from: { path: '^plugin/', pathNot: '^plugin/(index|plugin)\\.ts$' },
      to: { path: '^plugin/(index|plugin|start)\\.ts$' }
    },
    importsOnly('shared', [], 'Small tools that every folder may import.'),
    importsOnly('store', BELOW, 'A store knows nothing of those who use it.'),
    importsOnly('journal', [...BELOW, 'store'], 'It knows the outcome that a store keeps, and none of its users.'),
    importsOnly('client', BELOW, 'It runs in browsers.'),
    importsOnly('observe', [...BELOW, 'options.ts', 'types.ts'], 'It tells of what others do.'),
    importsOnly(
      'core', [...BELOW, 'store', 'journal', 'observe', 'options.ts', 'refusals.ts'],
      'It decides who owns a key, for requests and for app.idempotency.run(), and so knows no HTTP.'
    ),
    importsOnly('app', [...BELOW, 'core', 'store', 'observe', 'options.ts', 'types.ts'], 'It serves no request.'),
    importsOnly(
      'request', [...BELOW, 'core', 'store', 'journal', 'observe', 'options.ts', 'refusals.ts', 'types.ts'],
      'One request, one file a step.'
    ),
    importsOnly('openapi', [...BELOW, 'options.ts', 'routes.ts'], 'It describes routes, and runs nothing.'),
    importsOnly('store-contract', ['store'], 'A suite for other people’s stores.'),
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
