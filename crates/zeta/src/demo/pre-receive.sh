#!/bin/sh
# pre-receive: the resource itself checks the fencing token of every push.
#
# A lease cannot stop a process that slept past the lease's end; only the resource that the process
# writes to can. So a push names the token of its lease (git push -o fencing-token=N), this hook
# remembers the highest token that it has seen, and refuses a push with a lower one. It needs only
# sh, flock(1) and 'git config receive.advertisePushOptions true' in the repository.
set -u

log() {
    printf '%s\n' "$*" >>fencing.log
}

refuse() {
    log "refused token=$token $1"
    printf 'push refused: %s\n' "$2" >&2
    exit 1
}

token=none
at=0
while [ "$at" -lt "${GIT_PUSH_OPTION_COUNT:-0}" ]; do
    eval "option=\$GIT_PUSH_OPTION_$at"
    case $option in
        fencing-token=*) token=${option#fencing-token=} ;;
    esac
    at=$((at + 1))
done
case $token in
    none) refuse no-token 'it names no fencing token (git push -o fencing-token=N)' ;;
    '' | *[!0-9]* | ?????????????????*)
        token=invalid
        refuse no-token 'its fencing token is not a number below 2^53'
        ;;
esac

# The lock makes two pushes at once compare and remember one after the other. It ends with the hook.
# If two pushes pass, git compares the branch's old value and lets only one of them update it.
exec 9>>fencing.lock
flock -w 10 9 || refuse no-lock 'the lock of this repository could not be taken'
highest=0
if [ -f fencing-token ]; then
    read -r highest <fencing-token
fi
case $highest in
    '' | *[!0-9]*) refuse no-memory 'the file fencing-token of this repository is damaged' ;;
esac
if [ "$token" -lt "$highest" ]; then
    refuse "highest=$highest" "token $token is fenced: a push with token $highest came before"
fi
printf '%s\n' "$token" >fencing-token.new && mv -f fencing-token.new fencing-token ||
    refuse no-write 'the token could not be remembered'
exec 9>&-

# For 'zeta demo' only: hold this push here, half-way, until its process is killed.
if [ -f demo-hold ]; then
    log "holding token=$token"
    flock -w 120 8 8<demo-hold || refuse no-end 'the demo did not let the push continue'
fi
log "accepted token=$token"
