"""Removes, one at a time, the code that keeps a promise, and sees that a test notices."""
