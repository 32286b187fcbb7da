"""`capk doctor`: checks whether the provider can work here, and recommends what to do.

`gather` collects facts, the checks turn facts into findings, and `show` prints the findings.
"""
