"""Requests to the API servers of workload clusters, which may be hostile."""
