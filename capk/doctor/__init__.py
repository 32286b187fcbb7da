"""`capk doctor`: whether the provider can work here, and what to do where it cannot.

`gather` collects facts, the checks turn facts into findings, `show` prints these.
"""
