#!/bin/bash
# The manual pages: no warning of the formatter, and everything that the programs offer is in them.
#
#   manuals.sh FOLDER PROCVIEW PROCVIEWD PROCVIEW-HOOK
set -eu
folder=$1 procview=$2 procviewd=$3 hook=$4
export LC_ALL=C.UTF-8
status=0

wrong() {
    echo "FAIL: $*"
    status=1
}

for page in procview.1 procviewd.8 procview.conf.5 procview-runtime.8 procview-hook.8; do
    if command -v mandoc >/dev/null; then
        messages=$(mandoc -T lint -W warning "$folder/$page") || wrong "$page: mandoc: $messages"
    else
        echo "skip: mandoc is not installed; groff alone looks at $page"
    fi
    if command -v groff >/dev/null; then
        messages=$(groff -ww -man -Tutf8 -z "$folder/$page" 2>&1)
        [ -z "$messages" ] || wrong "$page: groff: $messages"
    fi
    ! grep -n '^@\|@[A-Z]*@' "$folder/$page" || wrong "$page: a place of the template is left"
done

# has PAGE TEXT: in the source, without its escapes
has() {
    sed 's/\\-/-/g; s/\\f[A-Z]//g' "$folder/$1" | grep -qF -e "$2" || wrong "$1 does not have $2"
}

options_of() { # the help on stdin
    grep -o '^ *\(-[a-zA-Z], \)\?--[a-z-]*' | grep -o -- '--[a-z-]*'
}

for command in $("$procview" help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' | grep -v help); do
    has procview.1 "procview $command"
    for option in $("$procview" "$command" --help | options_of | grep -v -e --help); do
        has procview.1 "$option"
    done
done
for option in $("$procviewd" --help | options_of); do
    has procviewd.8 "$option"
    case $option in
    --config | --standalone | --only-cgroup-tree | --version | --help) ;;
    *) has procview.conf.5 "${option#--} =" ;;
    esac
done
for option in $("$hook" --help | options_of); do
    has procview-hook.8 "$option"
done
for key in path hook views strict time-namespace; do
    has procview-runtime.8 "$key ="
done
for file in $("$procview" show --list | sed -n '2,$s/ .*//p'); do
    has procview.1 "/$file"
    has procviewd.8 "/$file"
done
[ "$status" != 0 ] || echo "ok"
exit $status
