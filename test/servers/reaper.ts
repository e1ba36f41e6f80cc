import { spawn } from 'node:child_process'
import type { Writable } from 'node:stream'

/*
 * A shell that waits for its standard input to close, which it does when this process ends, in whatever way. Then it
 * ends the processes that are left and removes the directories: what is started here is gone also after a SIGKILL.
 * A process is known by its id and the time it started, so never one is killed that got the same id later.
 */
const SCRIPT = `
# Whoever ends the tests process by process has to leave this one to its work.
trap '' INT TERM HUP
# When a process started, or nothing if it has ended. A zombie has: in a container whose first process does not wait for
# orphans it stays one for good, and would be waited for as long.
born () {
  if [ -d /proc/self ]; then
    read -r stat < "/proc/$1/stat" || return 0
    set -- \${stat##*) }
    case $1 in Z | X) return 0 ;; esac
    shift 19
    echo "$1"
  else
    line=$(ps -o stat= -o lstart= -p "$1")
    case $line in Z*) ;; *) echo "\${line#* }" ;; esac
  fi
}

while read -r kind it; do
  case $kind in
    pid) kept="$kept
$it $(born "$it")" ;;
    group) kept="$kept
-$it $(born "$it")" ;;
    dir) dirs="$dirs
$it" ;;
  esac
done

ours=$(printf '%s\\n' "$kept" | while read -r pid time; do
  if [ -n "$time" ] && [ "$(born "\${pid#-}")" = "$time" ]; then echo "$pid"; fi
done)
left () {
  for pid in $ours; do
    case $pid in
      -*) if kill -s 0 -- "$pid"; then return 0; fi ;;
      *) if [ -n "$(born "$pid")" ]; then return 0; fi ;;
    esac
  done
  return 1
}
# SIGINT ends Redis at once, and Postgres without waiting for its clients. Postgres gives back its shared memory then,
# which a SIGKILL would leave behind.
for pid in $ours; do kill -s CONT -- "$pid"; kill -s INT -- "$pid"; done
looks=0
while left && [ $looks -lt 100 ]; do
  looks=$((looks + 1))
  if [ $looks -eq 50 ]; then for pid in $ours; do kill -s KILL -- "$pid"; done; fi
  sleep 0.1
done
# More than once, since a child of an ended process may still be writing there.
printf '%s\\n' "$dirs" | while read -r dir; do
  looks=0
  while [ -n "$dir" ] && ! rm -rf "$dir" && [ $looks -lt 50 ]; do looks=$((looks + 1)); sleep 0.1; done
done
`

let reaper: Writable | null = null

/** Have a process ended, or a directory removed, when this process ends. It is fine if that has happened by then. */
export function protect (what: number | string): void {
  tell(typeof what === 'number' ? `pid ${what}` : `dir ${what}`)
}

/** The same for the process group that a detached child leads: for all that it started itself. */
export function protectGroup (leader: number): void {
  tell(`group ${leader}`)
}

function tell (line: string): void {
  reaper ??= start()
  reaper.write(`${line}\n`)
}

function start (): Writable {
  // Detached: a Ctrl-C in the terminal is for the tests, not for the one who cleans up after them.
  const shell = spawn('/bin/sh', ['-c', SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  shell.unref()
  const input = shell.stdin as typeof shell.stdin & { unref (): void }
  input.unref()
  // Without a reaper the tests are as good as with it.
  input.on('error', () => {})
  return input
}
