"""Runs the stand-in as `python -m capk.localkind`."""

from capk.localkind.cli import main

main()
