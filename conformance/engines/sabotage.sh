# Runtimes that are broken on purpose: wrappers around the one under test. The scenarios must notice. Sourced by run.sh.
# shellcheck shell=sh disable=SC2154,SC2016 # variables of run.sh; the wrappers expand their own

# sabotage RUNTIME
sabotage() {
    wrappers=$scratch/broken
    mkdir -p "$wrappers"
    real=$(command -v "$1")
    case $real in /*) ;; *) real=$PWD/$real ;; esac
    broken ignores-kill 'case " $* " in *" kill "*) exit 0 ;; esac'
    broken drops-seccomp '
        case " $* " in *" create "*)
            jq -c "del(.linux.seccomp)" "$bundle/config.json" > "$bundle/config.new" && mv "$bundle/config.new" "$bundle/config.json" ;;
        esac'
    broken loses-exit-code '
        case " $* " in *" create "*)
            jq -c ".process.args |= [\"/bin/sh\", \"-c\", \"\\\"\$@\\\"; true\", \"sh\"] + ." "$bundle/config.json" > "$bundle/config.new" && mv "$bundle/config.new" "$bundle/config.json" ;;
        esac'
    broken forgets-state 'case " $* " in *" delete "*) exit 0 ;; esac'
    noticed podman ignores-kill "kill" "run|run -d|kill|wait: killed"
    noticed podman drops-seccomp "run: default seccomp profile" "run|run: default seccomp profile"
    noticed podman loses-exit-code "run: exit status" "run|run: exit status"
    noticed podman forgets-state "nothing is left behind" "run"
    noticed containerd ignores-kill "task delete: the program's exit status" "run|run -d|task kill|task delete: the program's exit status"
    noticed docker drops-seccomp "run: the profile is in force" "run|run: the profile is in force"
    rm -rf "${wrappers:?}"
}

# broken NAME SHELL: a wrapper; $bundle is the bundle of its command line.
broken() {
    cat > "$wrappers/$1" <<WRAPPER
#!/bin/sh
bundle=. before=
for word in "\$@"; do
    case \$before in --bundle | -b) bundle=\$word ;; esac
    before=\$word
done
$2
exec $real "\$@"
WRAPPER
    chmod +x "$wrappers/$1"
}

# noticed ENGINE WRAPPER SCENARIO LIST: with it, `run` passes (so that the wrapper works) and the scenario does not.
noticed() {
    begin=$(date +%s)
    name="$1 notices a runtime that $2"
    SECONDS_EACH=6 ENGINE_SECONDS=60 ONLY="|$4|" engine_run "$1" "$wrappers/$2" > "$scratch/sabotage.log" 2>&1
    if ! grep -qx 'passed run' "$results"; then
        skipped=$((skipped + 1))
        echo "skipped  $name: not even 'run' passed"
        tail -5 "$scratch/sabotage.log" | sed 's/^/      /'
    elif grep -qxF "failed $3" "$results"; then
        passed=$((passed + 1))
        echo "passed   $name: $3 fails, $(($(date +%s) - begin)) s"
    else
        failed=$((failed + 1))
        echo "FAILED   $name: $3 did not fail"
        sed 's/^/      /' "$scratch/sabotage.log"
    fi
    rm -f "$scratch/sabotage.log" "$results"
}
