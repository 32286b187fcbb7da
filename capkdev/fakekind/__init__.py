"""The fake kind: behaves like the kind command, with a real etcd and kube-apiserver as local processes."""
