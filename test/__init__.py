"""A package, so that `test.simulation` is ours: Python has its own package named `test`."""
