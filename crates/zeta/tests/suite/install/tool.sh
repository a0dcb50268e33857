#!/bin/sh
# A real tool. If the rig has a directory of kills, the caller of each different call is killed once
# before the tool begins, and once after it ended. Each call that ends is noted.
tool=$(basename "$0")
key=$(echo "$tool $*" | sha256sum | cut -c1-16)
kill_once() {
    [ -d "$RIG.kills" ] || return 0
    mkdir "$RIG.kills/$key.$1" 2>/dev/null || return 0
    echo "$1 $tool" >>"$RIG.killed"
    kill -KILL "$PPID"
    exit 1
}
kill_once before
path=$(echo "$PATH" | sed "s|^$BIN:||")
PATH=$path "$tool" "$@"
status=$?
echo "$status $tool $*" >>"$RIG.done"
kill_once after
exit $status
