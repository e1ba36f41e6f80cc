/*
 * The arrows of `plugin/`, of types too: "from may not import to". docs/architecture.md has the drawing.
 * `npm run arrows` lists all arrows; `npm run lint` fails where one is forbidden.
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
    { name: 'no-circles', severity: 'error', from: { path: '^plugin/' }, to: { circular: true } },
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
    importsOnly('store-contract', ['store'], 'A suite for other people’s stores.')
  ],
  options: {
    includeOnly: '^plugin/',
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' }
  }
}
