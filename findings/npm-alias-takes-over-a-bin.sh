#!/usr/bin/env bash
# Expected: which program `npx tsc` (or an npm script) starts depends on package.json and package-lock.json: after
#   `npm install` and after `npm ci` of the same lock file it is the same one.
# Seen: where two packages of a project have a command of the same name (TypeScript 6, and TypeScript 7 under an alias,
#   as one keeps both while tools need the old one), node_modules/.bin has the one that was installed last. So who adds
#   the alias runs TypeScript 7 from then on, and everybody who runs `npm ci` on that commit runs TypeScript 6.
# Version: npm 11.19.1; typescript 6.0.3 and 7.0.2.
# Output seen:
#   after npm install: ../typescript-7/bin/tsc
#   after npm ci: ../typescript/bin/tsc
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{ "private": true }' > package.json
npm i --silent --no-audit --no-fund -D typescript@6.0.3
npm i --silent --no-audit --no-fund -D typescript-7@npm:typescript@7.0.2
installed=$(readlink node_modules/.bin/tsc)
npm ci --silent --no-audit --no-fund
fresh=$(readlink node_modules/.bin/tsc)
echo "npm $(npm --version)"
echo "after npm install: $installed"
echo "after npm ci: $fresh"
[ "$installed" = ../typescript-7/bin/tsc ]
[ "$fresh" = ../typescript/bin/tsc ]
