"""Removes the code of each promise in turn, and checks that a test fails."""
