"""Explains failed commands: turns their output into reason, cause and remedy. Pure."""
