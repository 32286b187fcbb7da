#!/bin/sh
# Answers the provider's calls of kind and the container engine in about a millisecond each, so that measurements show
# the provider. A kind cluster is two files: names/NAME holds the id of its only container, and clusters/ID holds the
# output of `inspect` for it.
#
#   BENCH_ENGINE          directory with clusters/, names/, kubeconfig (of every cluster) and calls (one line per call)
#   BENCH_ENGINE_SECONDS  duration of a creation
#   BENCH_ENGINE_PORT     port on which every kind cluster publishes its API server, each under a name of its own: the
#                         provider keeps one connection for each address; empty for none
#   DOCKER_HOST           if it names a Service: the kind clusters are those below hosts/ of that engine in a Pod
engine=$BENCH_ENGINE
case $DOCKER_HOST in tcp://*.svc:*) engine=$BENCH_ENGINE/hosts/${DOCKER_HOST#tcp://} ;; esac
cd "$engine/clusters" || exit
printf '%s\n' "$1 $2" >>"$BENCH_ENGINE/calls"

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
  ports=
  address=
  if [ -n "$BENCH_ENGINE_PORT" ]; then
    ports="\"6443/tcp\": [{\"HostIp\": \"127.0.0.1\", \"HostPort\": \"$BENCH_ENGINE_PORT\"}]"
    address=", \"desktop.docker.io/ports/6443/tcp\": \"$name.capkind-engines.svc:$BENCH_ENGINE_PORT\""
  fi
  set -- $(printf %s "$name" | sha256sum)
  printf '[{"Id": "%s", "Name": "/%s", "Config": {"Image": "kindest/node", "Labels": {"io.x-k8s.kind.cluster": "%s", "io.x-k8s.kind.role": "control-plane"%s}}, "State": {"Running": true, "StartedAt": "2025-01-01T00:00:00Z"}, "Mounts": [{"Destination": "%s"}], "NetworkSettings": {"Networks": {"kind": {"IPAddress": "172.18.0.2"}}, "Ports": {%s}}}]\n' \
    "$1" "$name-control-plane" "$name" "$address" "$claim" "$ports" >"../made.$$"
  mv "../made.$$" "$1"
  echo "$1" >"../names/$name"
  [ "$BENCH_ENGINE_SECONDS" = 0 ] || sleep "$BENCH_ENGINE_SECONDS"
  exec cat "$BENCH_ENGINE/kubeconfig" >"$kubeconfig"
}

case "$1 $2" in
  "create cluster") create ;;
  "get clusters") exec ls ../names ;;
  "ps "*)
    case $* in
      *label=io.x-k8s.kind.cluster=*) [ ! -e "../names/${*##*=}" ] || exec cat "../names/${*##*=}" ;;
      *) exec ls ;;
    esac
    ;;
  "get nodes") [ ! -e "../names/$name" ] || echo "$name-control-plane" ;;
  "get kubeconfig") exec cat "$BENCH_ENGINE/kubeconfig" ;;
  "inspect "*) shift 2 && exec cat "$@" ;;
  "rm "*)
    for id; do
      [ -e "$id" ] || continue
      read -r made <"$id"
      made=${made#*kind.cluster\": \"}
      rm -f "../names/${made%%\"*}" "$id"
    done
    ;;
  "version ") echo "kind v0.33.0 go1.25 linux/amd64" ;;
  "info "*) echo '{"ID": "instant"}' ;;
  "exec "*) exec cat >/dev/null ;;
  "start "*) ;;
  *) echo "nobody taught the instant engine: $*" >&2 && exit 64 ;;
esac
