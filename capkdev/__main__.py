"""`python -m capkdev` is the `capkdev` command."""

from capkdev.managementcluster.cli import main

main()
