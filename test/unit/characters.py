"""Texts of all Unicode characters."""

from functools import partial

from hypothesis import strategies as st

CHARACTERS = st.characters(exclude_categories=["Cs"])
"""The default characters of hypothesis, by category: finding those of a codec takes 4 s per process."""
texts = partial(st.text, CHARACTERS)
"""As st.text: `texts(max_size=5)`."""
matches = partial(st.from_regex, fullmatch=True, alphabet=CHARACTERS)
"""As st.from_regex, of whole texts."""
