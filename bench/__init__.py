"""Measures speed and size of the provider; `make bench` runs all of it. Nothing here passes or fails by a time."""
