#!/bin/bash
# The completions: the options of each command are those of its --help, and bash completes what it should.
#
#   completions.sh FOLDER PROCVIEW PROCVIEWD
# shellcheck disable=SC2016,SC2034,SC2086,SC2317 # COMP_WORDS and COMP_CWORD are read by the completion
set -eu
folder=$1 procview=$2 procviewd=$3
export LC_ALL=C.UTF-8
PATH=$(dirname "$procview"):$PATH
status=0

wrong() {
    echo "FAIL: $*"
    status=1
}

equal() { # equal WHAT GOT EXPECTED
    [ "$2" = "$3" ] || wrong "$1: '$2' is not '$3'"
}

# The long options of a text on stdin, one each.
long_options() {
    grep -o -- '--[a-z][a-z-]*' | sort -u | tr '\n' ' '
}

of_help() { # the help on stdin
    sed -n 's/^ *\(-[a-zA-Z], \)\?\(--[a-z-]*\).*/\2/p' | long_options
}

# shellcheck source=/dev/null
. "$folder/procview"

complete_words() { # complete_words FUNCTION WORD...: sorted; the last word is the one being typed
    local function=$1
    shift
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    COMPREPLY=()
    "$function" 2>/dev/null
    printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' '
}

commands=$("$procview" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
equal "bash: the commands" "$(complete_words _procview procview '')" \
    "$(printf '%s\n' $commands --help --version | sort | tr '\n' ' ')"
for command in $commands; do
    [ "$command" != help ] || continue
    expected=$("$procview" "$command" --help | of_help)
    equal "bash: procview $command --" "$(complete_words _procview procview "$command" --)" "$expected"
    equal "zsh: procview $command" \
        "$(sed -n "/^    $command)/,/^        ;;/p" "$folder/_procview" | sed 's/\[.*//; s/^ *.([^)]*)/ /' |
            long_options)" "$expected"
done
expected=$("$procviewd" --help | of_help)
equal "bash: procviewd --" "$(complete_words _procviewd procviewd --)" "$expected"
equal "zsh: procviewd" "$(sed -n '/service == procviewd/,/^fi/p' "$folder/_procview" | sed 's/\[.*//' |
    long_options)" "$expected"

equal "bash: a choice" "$(complete_words _procview procview run --net = '')" "host none "
equal "bash: a choice that has begun" "$(complete_words _procview procview run --net n)" "none "
equal "bash: a choice of the daemon" "$(complete_words _procviewd procviewd --log-level = d)" "debug "
equal "bash: a file that is served" "$(complete_words _procview procview show proc/mem)" "proc/meminfo "
equal "bash: a folder" "$(complete_words _procviewd procviewd /proc/sys/kern)" "/proc/sys/kernel "
equal "bash: the command after --" "$(complete_words _procview procview run -- /etc/passw)" \
    "$(compgen -f /etc/passw | sort | tr '\n' ' ')"

# A name of a container is its own choice: it must not be run.
procview() {
    printf '[{"name": "web"}, \n{"name": "$(touch %s)"}, \n{"name": "db-1"}]\n' "$folder/never"
}
equal "bash: containers" "$(complete_words _procview procview attach '')" "db-1 web "
equal "bash: containers of --pid" "$(complete_words _procview procview show --pid d)" "db-1 "
[ ! -e "$folder/never" ] || wrong "a container's name was run"

if command -v zsh >/dev/null; then
    zsh -n "$folder/_procview" || wrong "zsh: syntax"
    zsh -fc 'fpath=('"$folder"' $fpath); autoload -U compinit; compinit -u -D
        [[ ${_comps[procview]} == _procview && ${_comps[procviewd]} == _procview ]]' ||
        wrong "zsh does not find the completion"
else
    echo "skip: zsh is not installed; its completion is compared only"
fi
[ "$status" != 0 ] || echo "ok"
exit $status
