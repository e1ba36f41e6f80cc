import { spawn } from 'node:child_process'
import type { Writable } from 'node:stream'

/*
 * A shell that waits until its standard input closes, which happens when this process ends, even by SIGKILL. Then it
 * ends the processes that are left, and removes the directories. It identifies a process by its id and its start time,
 * so it never kills a process that got the same id later.
 */
const SCRIPT = `
# A signal that is sent to all processes of the tests must not end this one.
trap '' INT TERM HUP
# Prints when a process started, or nothing if it has ended. A zombie counts as ended: in a container whose first
# process does not wait for orphans, a zombie stays for ever.
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
# SIGINT ends Redis at once, and Postgres without a wait for its clients. Postgres then frees its shared memory, which a
# SIGKILL would leave behind.
for pid in $ours; do kill -s CONT -- "$pid"; kill -s INT -- "$pid"; done
looks=0
while left && [ $looks -lt 100 ]; do
  looks=$((looks + 1))
  if [ $looks -eq 50 ]; then for pid in $ours; do kill -s KILL -- "$pid"; done; fi
  sleep 0.1
done
# Tries repeatedly, because a child of an ended process may still write there.
printf '%s\\n' "$dirs" | while read -r dir; do
  looks=0
  while [ -n "$dir" ] && ! rm -rf "$dir" && [ $looks -lt 50 ]; do looks=$((looks + 1)); sleep 0.1; done
done
`

let reaper: Writable | null = null

/** Ends a process, or removes a directory, when this process ends. Does nothing if it is gone by then. */
export function protect (what: number | string): void {
  tell(typeof what === 'number' ? `pid ${what}` : `dir ${what}`)
}

/** Ends the process group of a detached child, with all processes that the child started. */
export function protectGroup (leader: number): void {
  tell(`group ${leader}`)
}

function tell (line: string): void {
  reaper ??= start()
  reaper.write(`${line}\n`)
}

function start (): Writable {
  // Detached, so that a Ctrl-C in the terminal ends the tests and not the reaper.
  const shell = spawn('/bin/sh', ['-c', SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  shell.unref()
  const input = shell.stdin as typeof shell.stdin & { unref (): void }
  input.unref()
  // The tests also work without the reaper.
  input.on('error', () => {})
  return input
}
