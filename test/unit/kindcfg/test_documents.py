import pytest
import yaml

from capk.kindcfg import documents


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_text_that_nests_without_end_is_an_error_and_not_the_end_of_the_process(opening):
    with pytest.raises(yaml.YAMLError, match="nests more than 100 levels deep"):
        documents.load(opening * 100_000)


def test_hundred_levels_are_read():
    deep = "".join(f"{'  ' * level}level:\n" for level in range(100)) + "other: {}\n" * 100
    assert len(documents.load(deep)) == 2


def test_shallow_and_deep_texts_are_read_alike():
    document = {"name": "dev", "on": "yes", "many": [{"number": number, "text": f"{number}: ü"} for number in range(2)]}
    large = {**document, "many": document["many"] * 500}
    assert documents.load(documents.dump(document)) == document
    assert documents.load(documents.dump(large)) == large


def test_fields_keep_their_order():
    assert documents.dump({"kind": "Cluster", "apiVersion": "v1"}) == "kind: Cluster\napiVersion: v1\n"
