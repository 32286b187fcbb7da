"""Installs the external programs that tools/ pins in bin/: downloads releases, or builds from source."""
