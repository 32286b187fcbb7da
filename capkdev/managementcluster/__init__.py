"""The embedded management plane: API server, Cluster API core and provider as local processes."""
