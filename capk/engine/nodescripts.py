"""The scripts that run in a node through the engine's `exec`, and the paths of kind's files there.

The fake kind recognises them. It imports only this module of the package, because each of its calls is a new process.
"""

from typing import Final

JOIN_FILE: Final = "/kind/kubeadm.conf"
"""Where kind keeps it in every node. The node image rewrites the node's address in it after a restart."""
VERSION_FILE: Final = "/kind/version"
"""Where kind's node images have the version of Kubernetes."""

WRITE_FILE: Final = """set -eu
mkdir -p -- "$(dirname -- "$1")"
new=$(mktemp -p "$(dirname -- "$1")")
trap 'rm -f -- "$new"' EXIT
cat >"$new"
[ "$(wc -c <"$new")" -eq "$3" ] || { echo "$1: its content did not arrive whole" >&2; exit 1; }
chmod -- "$2" "$new"
mv -f -- "$new" "$1"
"""
"""Arguments: path, mode, length in bytes. mktemp creates a file that only its owner can read."""

READ_NOTE: Final = """set -eu
cd -- "$1"
names=$(ls -A)
verdict=unknown
for name in $names; do
  case "$name" in
    "$2") verdict=held; break ;;
    "$3") verdict=missing ;;
  esac
done
echo "$verdict"
[ "$verdict" != held ] || cat -- "$2"
"""
"""Arguments: folder, name of a file there, name of what else is there. Prints `held` and the file. It prints `missing`
only if the listing shows the other one: then the folder was read, and the file is not in it."""

READ_REGISTRIES: Final = """cd /etc/containerd
folder=$(ls -d certs.d 2>/dev/null || true)
tar -chf - config.toml $folder | base64
"""
"""Prints containerd's configuration and registry files: kind patches them once, in the nodes that it creates."""

WRITE_REGISTRIES: Final = """set -eu
cd /etc/containerd
before=$(cksum config.toml 2>/dev/null || true)
if [ "$1" = all ]; then
  base64 -d | tar --no-same-owner -xf -
else
  base64 -d | tar --no-same-owner --exclude=config.toml -xf -
fi
[ "$before" = "$(cksum config.toml 2>/dev/null || true)" ] || systemctl restart containerd
"""
"""Argument: `all`, or `registries` to keep the node's own config.toml, which fits its image."""

ETCD_MANIFEST: Final = "/etc/kubernetes/manifests/etcd.yaml"
"""Where kubeadm describes the Pod of etcd."""
ETCD_MOUNT: Final = """set -eu
[ -e "$1" ] || exit 0
folder=$(sed -n 's/^ *- --data-dir=//p' "$1")
[ -n "$folder" ]
sed -n 's/^ *path: //p' "$1" | {
  while read -r path; do case "$folder/" in "${path%/}"/*) exit 0 ;; esac; done
  exit 1
} || { echo pod; exit 0; }
point=$(stat --dereference --format=%m -- "$folder")
kind=$(stat --file-system --format=%T -- "$folder")
root=
while read -r _ _ _ of at _; do [ "$at" != "$point" ] || root=$of; done </proc/self/mountinfo
printf '%s\n' node "$point" "$kind" "$root"
"""
"""Argument: ETCD_MANIFEST. Prints nothing if the node has no etcd, `pod` if its data is in no folder of the node, and
otherwise `node` and of the mount with its data the mount point, the kind of file system, and which folder of that file
system it is."""

PODS_SCRIPT: Final = """ls -t /var/log/containers/*.log 2>/dev/null | head -n 16 | while read -r file; do
  echo "--- $file"
  tail -c 16384 -- "$file"
done | tail -c 262144
"""
"""The ends of the latest container logs."""

NODE_LOGS: Final[dict[str, str]] = {
    "kubelet": "journalctl --no-pager --lines=2000 --unit=kubelet 2>&1 | tail -c 131072",
    "containerd": "journalctl --no-pager --lines=1000 --unit=containerd 2>&1 | tail -c 65536",
    "the whole journal": "journalctl --no-pager --lines=500 2>&1 | tail -c 65536",
    "pods": PODS_SCRIPT,
}
"""Heading -> shell script. A normal node prints half a MiB at most; `Containers.run` bounds any other."""

_KUBELET: Final = "/var/lib/kubelet/pki"
KUBELET_FILE: Final = f"{_KUBELET}/kubelet-client-renewed.pem"
"""Certificate and key in one file, as the kubelet keeps them."""
READ_KUBELET: Final = (
    f"sed -n '/^-----BEGIN CERT/,/^-----END CERT/p' {_KUBELET}/kubelet-client-current.pem 2>/dev/null || true"
)
"""Prints the kubelet's client certificate without its key; nothing if the node's kubelet keeps it elsewhere."""
INSTALL_KUBELET: Final = (
    f"cd {_KUBELET} && ln -sfn kubelet-client-renewed.pem kubelet-client-current.pem && rm -f kubelet.crt kubelet.key "
    "&& systemctl restart kubelet"
)
"""To run once KUBELET_FILE is there. The kubelet issues its serving certificate, which is as old, by itself."""
