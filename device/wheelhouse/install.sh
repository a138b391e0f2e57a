#!/bin/sh
# Installs Convoy on this board from the wheels beside this script, without any index: run it as root. Everything after
# its name goes to `convoy-device install`: --name, --site, --broker, --trusted-key, --root, ...
set -eu
here=$(cd -P "$(dirname "$0")" && pwd)
python=/usr/local/share/pynq-venv/bin/python3
theirs=
if [ -x "$python" ]; then theirs=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); else python=python3; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv --system-site-packages "$work"
[ -z "$theirs" ] || echo "$theirs" >"$("$work/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pynq-venv.pth"
"$work/bin/python" -m pip install --isolated --quiet --disable-pip-version-check --no-input --no-index \
    --find-links "$here" --constraint "$here/constraints.txt" convoy-fleet
"$work/bin/convoy-device" install --from "$here" "$@"
