#!/bin/sh
# Mounts FAT by FUSE where the kernel has no driver of it. The program that serves it keeps no
# descriptor of its caller.
if [ "$1 $2" = "-t vfat" ] && ! grep -qw vfat /proc/filesystems; then
    exec fusefat -o rw+ -o fsname="$3" "$3" "$4" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&- >/dev/null 2>&1
fi
exec /usr/bin/mount "$@"
