"""Collects from the tests' marks which test proves which rule, and writes docs/contract.md."""
