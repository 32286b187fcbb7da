"""Composition of the provider process; the only package that imports kopf."""
