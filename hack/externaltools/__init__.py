"""Brings the external programs that tools/ pins into bin/: downloads releases, or builds from source."""
