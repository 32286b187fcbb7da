"""Decisions: observed state in, plan out. Pure: nothing here does input or output."""
