import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'

/*
 * A shell that waits for its standard input to close, which it does when this process ends, in whatever way. Then it
 * ends the servers that are left and removes their directories: what is started here is gone also after a SIGKILL.
 * Servers are known by process id and directory: a process is killed only if its command line names the directory, so
 * never one that got the same id later.
 */
const SCRIPT = `
while read -r pid dir; do
  case $pid in
    done) left=$(printf '%s\\n' "$left" | grep -v " $dir$") ;;
    *) left="$left
$pid $dir" ;;
  esac
done
printf '%s\\n' "$left" | while read -r pid dir; do
  [ -n "$dir" ] || continue
  if { ps -o args= -p "$pid" || tr '\\0' ' ' < "/proc/$pid/cmdline"; } 2>/dev/null | grep -qF "$dir"; then
    kill -CONT "$pid"; kill -KILL "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
  fi
  rm -rf "$dir"
done
`

let reaper: ChildProcess | null = null

function tell (line: string): void {
  if (reaper === null) {
    // Detached: a Ctrl-C in the terminal is for the tests, not for the one who cleans up after them.
    reaper = spawn('sh', ['-c', SCRIPT], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
    reaper.unref()
    const input = reaper.stdin as typeof reaper.stdin & { unref (): void }
    input.unref()
  }
  reaper.stdin?.write(`${line}\n`)
}

/** Have the server killed and its directory removed when this process ends. */
export function protect (pid: number, directory: string): void {
  tell(`${pid} ${directory}`)
}

/** It has been stopped and removed by whoever started it. */
export function release (directory: string): void {
  tell(`done ${directory}`)
}
