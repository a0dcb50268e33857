#!/bin/sh
# In place of NixOS's own tools, of which this machine has none: leaves what they leave, and notes
# the call.
echo "$(basename "$0") $*" >>"$RIG.nixos"
root=
while [ $# -gt 0 ]; do
    [ "$1" = --root ] && root=$2
    shift
done
case $(basename "$0") in
nixos-generate-config)
    mkdir -p "$root/etc/nixos"
    findmnt --submounts --noheadings --output TARGET "$root" | sed 's/^/# /' \
        >"$root/etc/nixos/hardware-configuration.nix"
    ;;
nixos-install)
    # What the build reads has to be there under its later names.
    for name in cluster-node-id initial-hashedpassword; do
        [ -s "$LIVE/etc/zeta/$name" ] || exit 1
    done
    mkdir -p "$root/nix/var/nix/profiles" "$root/boot/loader"
    touch "$root/etc/NIXOS"
    echo "default $(cat "$LIVE/etc/zeta/cluster-node-id")" >"$root/boot/loader/loader.conf"
    ln -sfn system-1-link "$root/nix/var/nix/profiles/system"
    ;;
esac
