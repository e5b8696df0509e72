# No engine at all: `run` under a service supervisor (Debian's start-stop-daemon), `list`, `kill` and `delete` beside it.
# needs: start-stop-daemon jq
# shellcheck shell=sh disable=SC2016
set -u
. "$(dirname "$0")/lib.sh"
make_image
about "start-stop-daemon $(start-stop-daemon --version | sed -n '1s/^[^ ]* \([^ ]*\).*/\1/p')"
printf '#!/bin/sh\nexec %s --root %s/state "$@"\n' "$RUNTIME" "$PLACE" > "$PLACE/r"
printf '#!/bin/sh\nexec start-stop-daemon --quiet --pidfile %s/pid "$@"\n' "$PLACE" > "$PLACE/ssd"
chmod +x "$PLACE/r" "$PLACE/ssd"
R=$PLACE/r SSD=$PLACE/ssd
# bundle NAME PROGRAM: without a terminal, with the image as its root, in a cgroup of this run.
bundle() {
    mkdir -p "$PLACE/$1"
    (cd "$PLACE/$1" && "$RUNTIME" spec)
    jq -c --arg root "$PLACE/image" --arg cgroup "/$PARENT/$1" --arg program "$2" '.process.terminal = false
        | .root.path = $root | .linux.cgroupsPath = $cgroup | .process.args = ["sh", "-c", $program]' \
        "$PLACE/$1/config.json" > "$PLACE/config.new" && mv "$PLACE/config.new" "$PLACE/$1/config.json"
}
bundle ends 'echo hello; exit 43'
bundle serves 'echo started; trap "echo stopping; exit 5" TERM; while :; do sleep 0.1; done'
bundle killed 'ulimit -c 0; busybox dd if=/dev/zero bs=1 | sleep 100 & kill -SEGV $!; wait $!'
is() { [ "$("$R" state "$1" 2> /dev/null | jq -r .status)" = "$2" ]; }

scenario "run: what it says and its exit status" 43 "hello" "$R" run --bundle "$PLACE/ends" e1
scenario "run: the shell's status of a signal" 139 "*" "$R" run --bundle "$PLACE/killed" e2
scenario "supervised: started in the background" 0 "" "$SSD" --start --background --make-pidfile \
    --output "$PLACE/said" --startas "$R" -- run --bundle "$PLACE/serves" s
chosen "supervised: started in the background" && wait_for 5 grep -q started "$PLACE/said"
scenario "supervised: list shows it" 0 "s" "$R" list -q
scenario "supervised: list as a table" 0 "*running*$PLACE/serves*" "$R" list
scenario "supervised: state" 0 "running" sh -c "$R state s | jq -r .status"
scenario "supervised: the supervisor sees it" 0 "" "$SSD" --status
scenario "supervised: exec beside it" 9 "hi" "$R" exec s sh -c 'echo hi; exit 9'
scenario "supervised: ps" 0 "*PID*" "$R" ps s
scenario "supervised: pause and resume" 0 "paused" sh -c "$R pause s && $R state s | jq -r .status; $R resume s"
scenario "supervised: a second start is refused" 1 "" "$SSD" --start --test --startas "$R"
scenario "supervised: stop reaches the program" 0 "started*stopping" \
    sh -c "$SSD --stop --retry TERM/10/KILL/5 && cat $PLACE/said"
scenario "supervised: gone after it" 0 "" "$R" list -q
scenario "supervised again" 0 "" "$SSD" --start --background --make-pidfile --output "$PLACE/said" \
    --startas "$R" -- run --bundle "$PLACE/serves" k
chosen "supervised again" && wait_for 5 is k running
scenario "kill KILL" 0 "" "$R" kill k KILL
chosen "kill KILL" && wait_for 5 sh -c "! $SSD --status"
scenario "kill: the supervisor sees the end" 1 "" "$SSD" --status
scenario "kill: run has removed it" 0 "" "$R" list -q
# The other way: detached, and the supervisor watches the container's own first process.
scenario "detached: start" 0 "" sh -c "$R run --detach --pid-file $PLACE/pid --bundle $PLACE/serves d > $PLACE/detached 2>&1"
chosen "detached: start" && wait_for 5 grep -q started "$PLACE/detached"
scenario "detached: the supervisor sees it" 0 "" "$SSD" --status
scenario "detached: the pid file is the container's" 0 "same" \
    sh -c "[ \$(cat $PLACE/pid) = \$($R state d | jq .pid) ] && echo same"
scenario "detached: stop" 0 "" "$SSD" --stop --retry TERM/10/KILL/5
scenario "detached: stopped, until it is deleted" 0 "stopped" sh -c "$R state d | jq -r .status"
scenario "detached: delete" 0 "" sh -c "$R delete d; $R list -q"
for id in e1 e2 s k d; do "$R" delete --force $id > /dev/null 2>&1; done
judge "nothing is left behind" 0 "" 0 "$(left_behind; find "$PLACE/state" -mindepth 1 2> /dev/null)"
finish
