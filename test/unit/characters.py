"""Texts of all signs that Unicode has."""

from functools import partial

from hypothesis import strategies as st

CHARACTERS = st.characters(exclude_categories=["Cs"])
"""Those that hypothesis takes by default, named by category: which ones a codec knows it tries out, 4 s per process."""
texts = partial(st.text, CHARACTERS)
"""As st.text: `texts(max_size=5)`."""
matches = partial(st.from_regex, fullmatch=True, alphabet=CHARACTERS)
"""As st.from_regex, of whole texts."""
