"""Decisions: observed state in, plan out; pure, nothing here reads or writes the world."""
