"""How many cases the property-based tests try; makes `virtual_time` and `recording_kube` importable."""

import os

from hypothesis import settings

settings.register_profile("quick", max_examples=30, deadline=None)
settings.register_profile("thorough", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("CAPK_CASES", "quick"))
