"""Composition of the provider process; the only package that imports kopf."""

# Before kopf, which imports the official client too.
import capk.kube.officialclient  # noqa: F401
