"""`python -m capk` is the `capk` command."""

from capk.cli import main

main()
