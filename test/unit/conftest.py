"""Makes the modules next to it importable for all unit tests: `virtual_time`, `recording_kube`."""
