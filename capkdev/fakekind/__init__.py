"""The stand-in for the kind command: real etcd and kube-apiserver as local processes."""
