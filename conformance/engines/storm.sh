# Hundreds of containers in a row or at once: none fails, nothing is left, and the time of one beside runc's and crun's.
# Sourced by an engine's script in place of its scenarios, which defines once(): `once RUNTIME ID` runs one that says "ok".
# shellcheck shell=sh
STORM_PEERS="runc crun"
ONLY="|none|"
# Every runtime's first container pays for what later ones find in memory.
for each in "$RUNTIME" $STORM_PEERS; do once "$each" warm > /dev/null 2>&1; done

# in_a_row: 200, and 50 with each peer, in turns of 20 and 5, so that what the machine does meanwhile meets all alike.
in_a_row() {
    for turn in $(seq "$STORM"); do
        for each in "$RUNTIME" $STORM_PEERS; do
            count=5
            [ "$each" != "$RUNTIME" ] || count=20
            begin=$(date +%s%N)
            for n in $(seq $count); do
                once "$each" "s$turn-$n" >> "$PLACE/said-$(basename "$each")" 2>&1 < /dev/null
            done
            echo $((($(date +%s%N) - begin) / count / 1000)) >> "$PLACE/took-$(basename "$each")"
        done
    done
    for each in "$RUNTIME" $STORM_PEERS; do
        name=$(basename "$each")
        sort -n "$PLACE/took-$name" | awk -v name="$name" '{ all[NR] = $1 / 1000 }
            END { printf "storm    %-8s one in a row: median %.0f ms, %.0f to %.0f ms (%d turns)", name,
                (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2, all[1], all[NR], NR }'
        echo "; $(grep -cx ok "$PLACE/said-$name") ran"
        grep -vx ok "$PLACE/said-$name" | head -2
    done
    judge "$((STORM * 20)) in a row" 0 "$((STORM * 20))" 0 "$(said "$RUNTIME")"
}

# at_once COUNT: that many started together, each runtime by itself; three times, once in a short storm.
at_once() {
    times=$((STORM < 3 ? 1 : 3))
    for turn in $(seq $times); do
        for each in "$RUNTIME" $STORM_PEERS; do
            begin=$(date +%s%N)
            for n in $(seq "$1"); do
                once "$each" "p$turn-$n" >> "$PLACE/many-$(basename "$each")" 2>&1 < /dev/null &
                pids="${pids:-} $!"
            done
            # shellcheck disable=SC2086 # words are meant
            wait $pids
            pids=
            name=$(basename "$each")
            echo "storm    $name $1 at once: $((($(date +%s%N) - begin) / 1000000)) ms; $(grep -cx ok "$PLACE/many-$name") ran so far"
        done
    done
    judge "$1 at once, $times times" 0 "$((times * $1))" 0 "$(said "$RUNTIME" many)"
}

# How many said ok; what the others said.
said() {
    grep -cx ok "$PLACE/${2:-said}-$(basename "$1")"
    grep -vx ok "$PLACE/${2:-said}-$(basename "$1")"
}
