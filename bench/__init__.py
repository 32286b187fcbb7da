"""Measures speed and size of the provider; `make bench` runs all of it. Times never decide whether a test passes."""
