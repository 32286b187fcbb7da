"""The fake kind: answers as the kind command does, with a real etcd and kube-apiserver as local processes."""
