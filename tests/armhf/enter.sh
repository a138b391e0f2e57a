#!/bin/sh
# Stands a root for another processor up in the mount and process namespaces that the caller has just made, and waits.
# Nothing is written to $1: what changes lies in memory above it. $2, a folder of wheels, appears as /wheels; $3, made
# by the caller, is where the root is then.
set -eu
base=$1 wheels=$2 root=$3
mount --make-rprivate /
work=$(mktemp -d)
mount -t tmpfs -o mode=755 convoy "$work"
mkdir "$work/upper" "$work/inner"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$work/upper,workdir=$work/inner" "$root"
cd "$root"
mount -t proc proc proc
for name in null zero random urandom; do
    [ -e "dev/$name" ] || touch "dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
mkdir wheels boards
mount --bind "$wheels" wheels
touch ready
exec sleep infinity
