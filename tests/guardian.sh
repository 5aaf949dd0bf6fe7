# shellcheck shell=bash
# For test scripts: what they leave when they are killed with no time to clean up. Sourced.

# guard FOLDER MARK [COMMAND...]: when this script ends and FOLDER is still there, end the processes that have MARK
# in their command line, run COMMAND, unmount what is below FOLDER, and remove it. MARK is a name that nothing else
# has.
guard() {
    local guarded=$$
    (
        set +eu
        trap '' TERM INT HUP
        exec </dev/null >/dev/null 2>&1
        while kill -0 "$guarded"; do sleep 1; done
        [ -d "$1" ] || exit 0
        # The oldest first, one after the other: managers end their containers on SIGTERM.
        while pid=$(pgrep -o -f -- "$2"); do
            kill "$pid"
            for _ in $(seq 75); do kill -0 "$pid" || break; sleep 0.2; done
            kill -KILL "$pid"
            sleep 0.1
        done
        [ $# -le 2 ] || "${@:3}"
        awk -v folder="$1/" 'index($5, folder) == 1 { print $5 }' /proc/self/mountinfo | tac |
            while read -r path; do umount -l "$path"; done
        rm -rf --one-file-system "$1"
    ) &
    disown
}
