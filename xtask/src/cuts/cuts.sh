#!/bin/busybox sh
# The first process of a machine whose power will be cut: saves on FAT, or checks what was left.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
# The modules are numbered in an order in which they can be loaded.
for module in /modules/*; do
    insmod "$module" || echo "cuts: failed: the kernel does not load $module"
done
tries=0
until [ -b /dev/vda ] || [ $tries = 50 ]; do sleep 0.1; tries=$((tries + 1)); done
[ -b /dev/vda ] || { dmesg | tail -n 20; echo "cuts: failed: there is no /dev/vda"; }
# The kernel passes on zeta_part, zeta_order, zeta_images and zeta_bytes from its command line.
case $zeta_part in
save)
    mkdosfs -n ESP /dev/vda >/dev/null && mount -t vfat -o umask=0077 /dev/vda /esp &&
        /cuts save "$zeta_order" /esp/zeta-creds.enc 1
    ;;
check)
    image=0
    while [ $image -lt "$zeta_images" ]; do
        losetup -r -o $((image * zeta_bytes)) /dev/loop0 /dev/vda
        echo "cuts: image $image"
        mount -t vfat -o ro,umask=0077 /dev/loop0 /esp && /cuts check /esp/zeta-creds.enc
        umount /esp
        losetup -d /dev/loop0
        image=$((image + 1))
    done
    ;;
esac
echo "cuts: done"
reboot -f
