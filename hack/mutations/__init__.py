"""Removes the code of each guarantee in turn, and checks that a test fails."""
