import pytest
import yaml

from capk.kindconfig import yamlio


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_text_that_nests_without_end_is_an_error_and_not_the_end_of_the_process(opening):
    with pytest.raises(yaml.YAMLError, match="nests more than 100 levels deep"):
        yamlio.load_texts(opening * 100_000)


def test_hundred_levels_are_read():
    deep = "".join(f"{'  ' * level}level:\n" for level in range(100)) + "other: {}\n" * 100
    assert len(yamlio.load_texts(deep)) == 2


def test_shallow_and_deep_texts_are_read_alike():
    document = {"name": "dev", "on": "yes", "many": [{"number": "1", "text": f"{number}: ü"} for number in range(2)]}
    large = {**document, "many": document["many"] * 300}
    assert yamlio.load_texts(yamlio.dump(document)) == document
    assert yamlio.load_texts(yamlio.dump(large)) == large


def test_scalars_stay_the_texts_that_they_are():
    assert yamlio.load_texts("{a: 1_0, b: 0x10, c: 1:30, d: no, e: 2001-01-01, f: ~}") == {
        "a": "1_0",
        "b": "0x10",
        "c": "1:30",
        "d": "no",
        "e": "2001-01-01",
        "f": "~",
    }


def doubling(levels: int, first: str = "{a: b}", form: str = "[*x{0}, *x{0}]") -> str:
    """Return lines of which each holds the one before it twice, so that the last one holds 2 ** levels values."""
    lines = [f"x0: &x0 {first}", *(f"x{n}: &x{n} {form.format(n - 1)}" for n in range(1, levels))]
    return "\n".join(lines)


@pytest.mark.parametrize("form", ["[*x{0}, *x{0}]", "{{p: *x{0}, q: *x{0}}}", "{{<<: [*x{0}, *x{0}]}}"])
def test_aliases_that_double_with_each_line_are_refused(form):
    """Whoever prints, compares or searches such a document would need longer than the universe has."""
    with pytest.raises(yaml.YAMLError, match="more than 5000 texts, lists and mappings"):
        yamlio.load_texts(doubling(60, form=form))


def test_long_text_that_aliases_repeat_is_refused():
    text = f"a: &a {'x' * 10_000}\nb: [{', '.join(['*a'] * 7)}]"
    with pytest.raises(yaml.YAMLError, match="aliases repeat more than 65536 characters"):
        yamlio.load_texts(text)


@pytest.mark.parametrize("text", ["&a [*a]", "&a {b: *a}", "a: *b", "&a [&b [*a]]"])
def test_alias_of_what_contains_it_or_of_nothing_is_an_error(text):
    with pytest.raises(yaml.YAMLError):
        yamlio.load_texts(text)


def test_aliases_of_ordinary_size_are_followed():
    text = "a: &a {v: '3'}\nb: &b [*a, x]\nc: [*a, *b]\n"
    assert yamlio.load_texts(text)["c"] == [{"v": "3"}, [{"v": "3"}, "x"]]
    assert len(yamlio.load_texts(doubling(9))["x8"]) == 2


def test_fields_keep_their_order():
    assert yamlio.dump({"kind": "Cluster", "apiVersion": "v1"}) == "kind: Cluster\napiVersion: v1\n"


@pytest.mark.parametrize("part", ["[],", "a,", "a: b\n", "- \n", "---\n", "? "])
def test_text_that_holds_very_much_is_refused_before_its_values_are_made(part, monkeypatch):
    monkeypatch.setattr(yaml, "load", lambda text, Loader: pytest.fail("it was read"))
    text = part * 40_000 if part.endswith(("\n", " ")) else f"[{part * 40_000}]"
    with pytest.raises(yaml.YAMLError):
        yamlio.load_texts(text)


def test_directives_that_are_compared_with_each_other_are_refused_before_they_are_read(monkeypatch):
    """libyaml takes seconds for those that fit into a patch, and each reconcile reads the patches of its object."""
    monkeypatch.setattr(yaml, "load", lambda *_, **__: pytest.fail("it was read"))
    directives = "".join(f"%TAG !{number}! x\n" for number in range(5000))
    with pytest.raises(yaml.YAMLError, match="more than 16 directives"):
        yamlio.load_texts(f"{directives}---\na: b\n")
