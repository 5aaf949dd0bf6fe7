# shellcheck shell=bash
# Configures and builds a folder, quietly. Sourced, after packages.sh.

# build DIR [MESON-OPTION]...: without tests where their library is not installed, unless an option says.
build() {
    local dir=$1 log
    shift
    log=$(mktemp)
    say "building $dir"
    case " $* " in
    *" -Dtests="*) ;;
    *) have pc:cmocka || set -- "$@" -Dtests=false ;;
    esac
    if [ -f "$dir/build.ninja" ]; then
        meson configure "$dir" "$@" >"$log" 2>&1
    else
        rm -rf "$dir"
        meson setup "$dir" . "$@" >"$log" 2>&1
    fi && ninja -C "$dir" >>"$log" 2>&1 && rm -f "$log" && return 0
    grep -E 'error|ERROR|FAILED' "$log" | head -n 20 >&2 || tail -n 20 "$log" >&2
    rm -f "$log"
    echo "${0##*/}: $dir does not build" >&2
    return 1
}
