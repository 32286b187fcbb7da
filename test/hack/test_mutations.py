"""The list of mutations follows the code: each finds its code once, and the test that has to notice it exists."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import yaml

from hack.mutations.__main__ import LIST, Mutation

ROOT = Path(__file__).parents[2]
MUTATIONS = [Mutation(**entry) for entry in yaml.load(LIST.read_text(encoding="utf-8"), yaml.CSafeLoader)]


def test_text_to_find_is_in_its_file_exactly_once() -> None:
    found = {one.guarantee: text_of(one.file).count(one.find) for one in MUTATIONS}
    assert {guarantee: times for guarantee, times in found.items() if times != 1} == {}


def test_mutated_code_differs_and_is_python() -> None:
    for one in MUTATIONS:
        assert one.find != one.put, one.guarantee
        ast.parse(text_of(one.file).replace(one.find, one.put), one.guarantee)


def test_named_tests_exist() -> None:
    assert [one.guarantee for one in MUTATIONS if not all(map(names_at, places(one)))] == []
    assert [one.guarantee for one in MUTATIONS if not places(one)] == []


def test_each_word_that_chooses_tests_is_in_the_name_of_one() -> None:
    unknown = {
        one.guarantee: word
        for one in MUTATIONS
        for word in chosen_words(one)
        if not any(word in name for place in places(one) for name in names_at(place))
    }
    assert unknown == {}


def test_no_mutation_is_listed_twice() -> None:
    assert len({one.guarantee for one in MUTATIONS}) == len(MUTATIONS)


def places(mutation: Mutation) -> list[str]:
    return [word for word in shlex.split(mutation.test) if word.startswith("test/")]


def chosen_words(mutation: Mutation) -> list[str]:
    words = shlex.split(mutation.test)
    return re.split(r" (?:or|and) ", words[words.index("-k") + 1]) if "-k" in words else []


def names_at(place: str) -> list[str]:
    """Return the names of the tests of a file, or the one test that the place names."""
    file, _, chosen = place.partition("::")
    if not (ROOT / file).is_file():
        return []
    return [name for name in re.findall(r"def (test_\w+)", text_of(file)) if not chosen or name == chosen]


@cache
def text_of(file: str) -> str:
    path = ROOT / file
    return path.read_text(encoding="utf-8") if path.is_file() else ""
