"""The local management cluster: an API server, Cluster API core and provider as local processes."""
