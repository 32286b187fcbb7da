"""A package, so that `test.simulation` is ours: Python has a package named `test` of its own."""
