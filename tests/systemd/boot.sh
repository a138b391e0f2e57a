#!/bin/sh
# Boots the system in $1 with systemd as PID 1 of namespaces that the caller has just made, in the cgroup that it is in.
# Nothing is written to $1: what changes lies in memory above it. $2, a folder of wheels, appears as /wheels, and $3, this
# tree with its environment, as /source, not to be written.
set -eu
base=$1 wheels=$2 source=$3
mount --make-rprivate /
work=$(mktemp -d)
mount -t tmpfs -o mode=755 convoy "$work"
mkdir "$work/upper" "$work/inner" "$work/root"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/inner" "$work/root"
cd "$work/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 dev dev
for name in null zero full random urandom tty; do
    touch "dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
mkdir -p dev/shm dev/pts wheels source
mount -t tmpfs shm dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount --bind "$wheels" wheels
mount --bind "$source" source
mount -o remount,bind,ro source
echo board >etc/hostname
mkdir old
# Not chroot, in which the kernel makes no user namespaces.
pivot_root . old
umount -l /old
exec env -i container=convoy PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd </dev/null
