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
    large = {**document, "many": document["many"] * 500}
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


def test_merges_that_double_with_each_line_are_not_followed():
    lines = ["x0: &x0 {a: b}", *(f"x{n}: &x{n} {{<<: [*x{n - 1}, *x{n - 1}]}}" for n in range(1, 60))]
    assert list(yamlio.load_texts("\n".join(lines))["x59"]) == ["<<"]


def test_fields_keep_their_order():
    assert yamlio.dump({"kind": "Cluster", "apiVersion": "v1"}) == "kind: Cluster\napiVersion: v1\n"


@pytest.mark.parametrize("part", ["[],", "a,", "a: b\n", "- \n", "---\n", "? "])
def test_text_that_holds_very_much_is_refused_before_its_values_are_made(part, monkeypatch):
    monkeypatch.setattr(yaml, "load", lambda text, Loader: pytest.fail("it was read"))
    text = part * 40_000 if part.endswith(("\n", " ")) else f"[{part * 40_000}]"
    with pytest.raises(yaml.YAMLError):
        yamlio.load_texts(text)
