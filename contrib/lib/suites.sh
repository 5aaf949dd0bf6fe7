# shellcheck shell=bash
# Runs meson suites, adds up what passed, failed and was skipped, and looks for what they left behind. Sourced.

passed=0 failed=0 skipped=0

count() { # count passed|failed|skipped TEXT
    printf '%-8s %s\n' "$1" "$2"
    case $1 in
    passed) passed=$((passed + 1)) ;;
    failed) failed=$((failed + 1)) ;;
    skipped) skipped=$((skipped + 1)) ;;
    esac
}

# step NAME COMMAND...: one thing that passes or fails.
step() {
    local name=$1
    shift
    if "$@"; then count passed "$name"; else count failed "$name"; fi
}

# run_suites DIR "SUITE..." [LABEL]: their tests one a line, each skip with its reason, the output of a failure.
# A suite none of whose tests ran is a failure.
run_suites() {
    local dir=$1 suites=$2 label=${3:+$3, } suite ran=" " result name base arguments=()
    say "${label}suite $suites"
    base=testlog-${suites// /-}
    for suite in $suites; do arguments+=(--suite "$suite"); done
    rm -f "$dir/meson-logs/$base.json"
    meson test -C "$dir" --no-rebuild "${arguments[@]}" --logbase "$base" \
        >"$dir/meson-logs/$base.out" 2>&1 </dev/null || :
    while IFS=$'\t' read -r result suite name; do
        case $result in
        note) printf '%s\n' "$name" ;;
        *) count "$result" "$label$suite: $name" ;;
        esac
        case $result in passed | failed) ran+="$suite " ;; esac
    done < <(contrib/lib/testlog "$dir/meson-logs/$base.json")
    for suite in $suites; do
        case $ran in
        *" $suite "*) ;;
        *) count failed "$label$suite: no test of this suite ran" ;;
        esac
    done
}

# What the tests make: mounts, cgroups and processes of the names that they use.
things() {
    sed -n 's/^\([^ ]* \)\{4\}\([^ ]*\) .* - \([^ ]*\) .*/mount \2 \3/p' /proc/self/mountinfo |
        grep -E 'procview|/pv-'
    find /sys/fs/cgroup -mindepth 1 -type d \( -name 'pv-*' -o -name 'procview*' \) \
        -printf 'cgroup %p\n' 2>/dev/null
    local comm
    for comm in /proc/[0-9]*/comm; do
        case $(cat "$comm" 2>/dev/null) in
        procview*) echo "process $(basename "$(dirname "$comm")") $(tr '\0' ' ' <"${comm%comm}cmdline")" ;;
        esac
    done
    find /tmp /run -maxdepth 1 \( -name 'procview*' -o -name 'pv-*' \) -printf 'file %p\n'
}

things_before=""
remember_things() {
    things_before=$(things | sort -u)
}

# Processes that have been told to end may take a moment.
check_things() {
    local left="" tries
    for tries in 1 2 3 4 5; do
        left=$(comm -13 <(printf '%s\n' "$things_before") <(things | sort -u))
        [ -n "$left" ] || break
        sleep "$tries"
    done
    if [ -n "$left" ]; then
        printf '%s\n' "$left"
        count failed "something is left behind"
    else
        count passed "nothing is left behind"
    fi
}

# The last line of all. Returns 1 if anything failed.
summary() {
    echo
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
}
