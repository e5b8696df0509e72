# The tables of docs/engines.md, from the results of one run. Sourced by run.sh.
# shellcheck shell=sh disable=SC2154 # variables of run.sh

# table RUNTIME: every engine of both suites with runc and with RUNTIME; what they say meanwhile goes to standard error. An engine's
# section stands by itself, so that the sections of several runs ($ENGINES) can be put together.
table() {
    for engine in $ENGINES; do
        for each in $engine $engine@$suite_wanted; do
            for by in runc "$1"; do engine_twice "$each" "$by" >&2; done
        done
        section "$engine" "$1"
    done
}

# As engine_run, and once more if something failed: what passes then is `again NAME`.
engine_twice() {
    engine_run "$1" "$2"
    grep -q '^failed' "$results" || return 0
    first=$scratch/first.results
    cp "$results" "$first"
    engine_run "$1" "$2"
    sed -n 's/^passed //p' "$results" > "$scratch/passed.results"
    while read -r verdict what; do
        [ "$verdict" != failed ] || ! grep -qxF "$what" "$scratch/passed.results" || verdict=again
        echo "$verdict $what"
    done < "$first" > "$results"
    rm -f "$first" "$scratch/passed.results"
}

# section ENGINE RUNTIME
section() {
    printf '\n### %s\n\n' "$1"
    echo "$(date +%Y-%m-%d), Linux $(uname -r), $(nproc) cores:"
    echo
    echo "| engine | scenarios | passed with runc | passed with runtime |"
    echo "| --- | --- | --- | --- |"
    for each in $1 $1@$suite_wanted; do summary "$each" "$2"; done
    scenarios "$1" "$2"
}

# about ENGINE RUNTIME: the line in which the script has told the engine's version.
about() { sed -n 's/^about //p' "$scratch/$1-$(basename "$2").results"; }
by() { sed -n 's/^runtime //p' "$scratch/$1-$(basename "$2").results"; }
count() { grep -cE "^($1) " "$2"; }

summary() {
    ours=$scratch/$1-$(basename "$2").results control=$scratch/$1-runc.results
    [ -n "$(about "$1" "$2")" ] || { echo "| $1 | 0 | | skipped: $(sed -n 's/.*\t//p' "$ours" | head -1) |"; return; }
    echo "| $(about "$1" "$2") | $(count 'passed|again|failed|skipped' "$ours") | $(count 'passed|again' "$control") ($(by "$1" runc))" \
        "| $(count 'passed|again' "$ours") |"
}

# scenarios ENGINE RUNTIME: a row for each, a column for each suite and runtime; below it why something was skipped.
scenarios() {
    old=$scratch/$1 new=$scratch/$1@$suite_wanted name=$(basename "$2")
    echo
    echo "| scenario | $(about "$1" "$2" | cut -d, -f1): runc | runtime | $(about "$1@$suite_wanted" "$2" | cut -d, -f1): runc | runtime |"
    echo "| --- | --- | --- | --- | --- |"
    awk -F '\t' '
        BEGIN { for (n = 1; n < ARGC; n++) of[ARGV[n]] = n }
        /^(passed|again|failed|skipped) / {
            verdict = $1; sub(/ .*/, "", verdict)
            what = $1; sub(/^[a-z]+ /, "", what)
            if (!(what in seen)) { order[++rows] = what; seen[what] = 1 }
            said[what, of[FILENAME]] = verdict
            if (verdict == "skipped") why[what] = $2
        }
        END {
            for (n = 1; n <= rows; n++) {
                what = order[n]
                if (what == "all") continue
                shown = what; gsub(/\|/, "\\|", shown)
                printf "| %s | %s | %s | %s | %s |\n", shown, cell(1), cell(2), cell(3), cell(4)
            }
            for (n = 1; n <= rows; n++) if (order[n] in why) printf "\nSkipped, %s: %s\n", order[n], why[order[n]]
        }
        function cell(at) { return said[what, at] == "again" ? "passed, second try" : said[what, at] }
    ' "$old-runc.results" "$old-$name.results" "$new-runc.results" "$new-$name.results"
}
