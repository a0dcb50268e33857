#!/bin/sh
# An agent that registers its node in a git repository: once, although other agents want the same.
#
# 'zeta run' started this script, beats for it and renews its leases. The script does the rest:
# acquire, check whether the work is done already, work, push with the token, set the marker,
# release.
set -u

lease=register-pr-in-flight
marker=self-registered
branch=register-node-$ZETA_NODE
clone=$DEMO_WORK/clone

zeta() {
    "$ZETA_BIN" "$@"
}

say() {
    printf '%s: %s\n' "$ZETA_AGENT" "$*" >&2
}

doing() {
    zeta persona set "$ZETA_AGENT" --status "$1" --task "register $ZETA_NODE" --quiet >/dev/null ||
        say "cannot update my persona"
}

node_yaml() {
    cat <<YAML
apiVersion: zeta.lucent-financial-group.com/v1
kind: ClusterNode
metadata:
  name: $ZETA_NODE
  namespace: zeta-cluster
spec:
  hostname: $ZETA_NODE
  roles: [worker]
  registration:
    registered-via: $ZETA_AGENT
YAML
}

doing waiting
token=$(zeta lease acquire "$lease" --wait 2m --ttl "$DEMO_TTL" --grace "$DEMO_GRACE" \
    --purpose "register $ZETA_NODE") || exit $?
if zeta marker get "$marker" >/dev/null 2>&1; then
    say "another agent registered $ZETA_NODE while I waited"
    zeta lease release "$lease" --token "$token"
    exit $?
fi

doing working
dir=maintainers/demo/cluster-nodes/$ZETA_NODE
git clone --quiet "$DEMO_REMOTE" "$clone" && cd "$clone" || exit 1
mkdir -p "$dir" && node_yaml >"$dir/node.yaml" && git add "$dir/node.yaml" || exit 1
git commit --quiet -m "feat(node-register): $ZETA_NODE self-registers" || exit 1

# The last check before the side effect. It cannot be enough: between here and the push this process
# may sleep for any length of time. That is why the push carries the token.
zeta lease renew "$lease" --token "$token" >/dev/null || exit $?

# For 'zeta demo' only: report that the push comes next, and wait until the demo opens the barrier.
: >"$DEMO_WORK/ready"
flock -w 120 9 9<"$DEMO_WORK/barrier" || exit 1

# Forced, because an agent that died may have left its own commit on this branch.
if ! git push --quiet --force -o "fencing-token=$token" origin "HEAD:refs/heads/$branch"; then
    zeta lease renew "$lease" --token "$token" >/dev/null
    status=$?
    say "the push was refused, and 'zeta lease renew' exits $status: I stop"
    [ "$status" -ne 0 ] && exit "$status"
    exit 1
fi
zeta marker set "$marker" pr_url="file://$DEMO_REMOTE#$branch" branch="$branch" \
    >/dev/null || exit $?
doing idle
zeta lease release "$lease" --token "$token"
