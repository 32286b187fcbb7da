"""Brings the external programs that tools/versions.toml pins into bin/, with the standard library only."""
