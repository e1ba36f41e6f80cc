#!/usr/bin/env bash
# Expected: a test that starts a program sees what a shell would see, also when `tap` runs the test and coverage is off.
# Seen: tap has every Node.js process that a test starts load its watcher of modules. It requires what Node.js would
#   import, and a program of ES modules whose file has no extension, as is the `tsc` of TypeScript 7, cannot be started
#   any more: ERR_REQUIRE_CYCLE_MODULE, exit code 1. Removing NODE_OPTIONS from the environment does not help, since tap
#   puts it there again for each child.
# Version: tap 21.8.0, typescript 7.0.2, Node.js 20.20.
# Output seen:
#   node:  exit code 0, Version 7.0.2
#   tap:   exit code 1, ERR_REQUIRE_CYCLE_MODULE
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true, "type": "module" }' > package.json
npm i --silent --no-audit --no-fund tap@21.8.0 typescript@6.0.3 typescript-7@npm:typescript@7.0.2
cat > start.js <<'JS'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'

delete process.env.NODE_OPTIONS
const { status, stdout, stderr } = spawnSync('node_modules/typescript-7/bin/tsc', ['--version'], { encoding: 'utf8' })
writeFileSync(process.env.SEEN, `exit code ${status}, ${stdout.trim() || /ERR_\w+/.exec(stderr)?.[0]}`)
JS
cat > start.test.js <<'JS'
import t from 'tap'
await import('./start.js')
t.pass()
JS
node --version
SEEN=by-node node start.js
SEEN=by-tap npx tap --disable-coverage start.test.js > /dev/null
echo "node:  $(cat by-node)"
echo "tap:   $(cat by-tap)"
[ "$(cat by-node)" = 'exit code 0, Version 7.0.2' ]
[ "$(cat by-tap)" = 'exit code 1, ERR_REQUIRE_CYCLE_MODULE' ]
