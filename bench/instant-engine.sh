#!/bin/sh
# Answers the calls that the provider makes of kind and of the container engine, in about a millisecond each, so that
# what is measured is the provider. A kind cluster is a file: its name is that of the cluster and the id of its only
# container, its content what `inspect` prints of it.
#
#   BENCH_ENGINE          directory with clusters/, kubeconfig (every cluster's) and calls (a line a call)
#   BENCH_ENGINE_SECONDS  how long a creation takes
cd "$BENCH_ENGINE/clusters" || exit
printf '%s\n' "$1 $2" >>../calls

for argument; do
  case $argument in
    --name=*) name=${argument#--name=} ;;
    --kubeconfig=*) kubeconfig=${argument#--kubeconfig=} ;;
  esac
done

create() {
  while read -r line; do
    case $line in *"containerPath: /etc/capk/claim/"*) claim=${line#*containerPath: } ;; esac
  done
  for step in "Ensuring node image (kindest/node)" "Preparing nodes" "Writing configuration" \
    "Starting control-plane" "Installing CNI" "Installing StorageClass"; do
    printf ' • %s  ...\n ✓ %s\n' "$step" "$step" >&2
  done
  printf '["%s","/%s","%s","control-plane",true,"2025-01-01T00:00:00Z","kind=172.18.0.2 ","kindest/node",["%s",""]]\n' \
    "$name" "$name" "$name" "$claim" >"../made.$$"
  mv "../made.$$" "$name"
  [ "$BENCH_ENGINE_SECONDS" = 0 ] || sleep "$BENCH_ENGINE_SECONDS"
  exec cat ../kubeconfig >"$kubeconfig"
}

case "$1 $2" in
  "create cluster") create ;;
  "delete cluster") exec rm -f "$name" ;;
  "get clusters" | "ps "*) exec ls ;;
  "get nodes") [ ! -e "$name" ] || echo "$name-control-plane" ;;
  "get kubeconfig") exec cat ../kubeconfig ;;
  "inspect "*) shift 4 && exec cat "$@" ;;
  "version ") echo "kind v0.33.0 go1.25 linux/amd64" ;;
  "info "*) echo '{"ID": "instant"}' ;;
  "start "*) ;;
  *) echo "nobody taught the instant engine: $*" >&2 && exit 64 ;;
esac
