"""The only access to the API server of the management cluster."""
