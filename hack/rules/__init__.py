"""Which test proves which rule: collected from the tests' marks, written to docs/contract.md."""
