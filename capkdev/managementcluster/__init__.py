"""The local management cluster: an API server, Cluster API's core and the provider as local processes."""
