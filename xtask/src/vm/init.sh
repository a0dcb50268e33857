#!/bin/busybox sh
# The first process of the virtual machine: sets the clock, runs the attack table twice, shuts down.
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ RUST_BACKTRACE=0
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=755 run /run
hostname zeta-vm
head -c 16 /dev/urandom | md5sum | cut -c1-32 >/etc/machine-id
[ -e /dev/stderr ] || ln -s /proc/self/fd/2 /dev/stderr
export ZETA_ATTACKS_VM=1 ZETA_ATTACKS_PROGRAM=/zeta ZETA_ATTACKS_LOG=/rows ZETA_SKIPPED_LOG=/skips
parts=0 bad=0
part() { # NAME ARGS...
    name=$1; shift
    : >/rows; : >/skips
    { /attacks --test-threads=1 "$@" 2>&1; echo $? >/status; } | tee /out
    status=$(cat /status)
    parts=$((parts + 1))
    echo "vm: ---- $name: Linux $(uname -r), $(sysctl -a 2>/dev/null | grep '^fs.protected_' |
        sed 's/fs.protected_//; s/ = /=/' | tr '\n' ' ')"
    sort /rows
    sort -u /skips
    passed=$(sed -n 's/^test result: .* \([0-9]*\) passed;.*/\1/p' /out)
    failed=$(sed -n 's/^test result: .* \([0-9]*\) failed;.*/\1/p' /out)
    if [ "$status" != 0 ] || [ "$failed" != 0 ] || [ "${passed:-0}" = 0 ]; then
        bad=$((bad + 1))
    fi
    echo "vm: part $name passed=$passed failed=$failed status=$status"
}
protect() {
    for pair in symlinks=$1 hardlinks=$2 fifos=$3 regular=$4; do
        echo "${pair#*=}" >/proc/sys/fs/protected_${pair%=*}
    done
}
protect 1 1 1 2
# The kernel passes on zeta_filter=NAME from its command line.
part clock --ignored
part distribution-defaults $zeta_filter
protect 0 0 0 0
part nothing-protected $zeta_filter
echo "vm: done parts=$parts bad=$bad"
sync
reboot -f
