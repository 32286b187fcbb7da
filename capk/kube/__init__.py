"""The one door to the API server of the management cluster."""
