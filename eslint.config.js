import neostandard, { resolveIgnoresFromGitignore } from 'neostandard'
import tseslint from 'typescript-eslint'

// neostandard for style; the type-checked rules for what matters here most: a promise nobody awaits
// is a completion that can be lost.
export default [
  ...neostandard({ ts: true, ignores: resolveIgnoresFromGitignore() }),
  {
    rules: {
      // Nobody should scroll sideways to read a line. A URL or a regular expression cannot be broken.
      '@stylistic/max-len': ['error', { code: 120, ignoreUrls: true, ignoreRegExpLiterals: true }]
    }
  },
  ...tseslint.configs.recommendedTypeChecked.map(config => ({ ...config, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      // tap itself waits for its subtests.
      '@typescript-eslint/no-floating-promises': ['error', {
        allowForKnownSafePromises: [{ from: 'package', name: 'PromiseWithSubtest', package: '@tapjs/core' }]
      }],
      // `void promise` says that it is meant: the promise reports its own failures.
      'no-void': ['error', { allowAsStatement: true }],
      // An async handler or test without an await is normal in Fastify and tap.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/unbound-method': 'off'
    }
  },
  // Examples import the package by its name, and its types are not built here. test/examples/ checks their types.
  { ...tseslint.configs.disableTypeChecked, files: ['examples/**/*.ts'] }
]
