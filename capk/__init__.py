"""Cluster API infrastructure provider for kind clusters."""
