import pytest

from capk.api.quantities import CPU, MEMORY, STORAGE, Amounts, amounts, parse, text


@pytest.mark.parametrize(
    ("resource", "given", "amount"),
    [
        (CPU, "500m", 500),
        (CPU, "2", 2000),
        (CPU, "0.25", 250),
        (MEMORY, "1Gi", 1024**3),
        (MEMORY, "1.5Gi", 3 * 1024**3 // 2),
        (MEMORY, "10M", 10_000_000),
        (STORAGE, "1Ti", 1024**4),
        (STORAGE, "1025", 1025),
    ],
)
def test_amounts_are_read_as_kubernetes_reads_them(resource: str, given: str, amount: int) -> None:
    assert parse(resource, given) == amount


@pytest.mark.parametrize(
    ("resource", "given"),
    [
        (CPU, "0"),
        (CPU, "0m"),
        (CPU, "-1"),
        (CPU, "1Gi"),
        (CPU, "1e99999999"),
        (MEMORY, "500m"),
        (MEMORY, "1 Gi"),
        (MEMORY, "1Gi\n"),
        (MEMORY, "٣Gi"),
        (MEMORY, ""),
        (MEMORY, None),
        (MEMORY, "9" * 1000),
    ],
)
def test_anything_else_is_refused_without_quoting_it(resource: str, given: object) -> None:
    with pytest.raises(ValueError, match=r"^(is not an amount such as (500m or 2|4Gi)|must be more than 0)$"):
        parse(resource, given)


def test_number_without_quotes_is_read_too() -> None:
    assert parse(CPU, 2) == 2000


@pytest.mark.parametrize(
    ("resource", "amount", "written"),
    [
        (CPU, 750, "750m"),
        (CPU, 2000, "2"),
        (MEMORY, 1536 * 1024**2, "1536Mi"),
        (MEMORY, 4 * 1024**3, "4Gi"),
        (MEMORY, 1025, "1025"),
    ],
)
def test_amounts_are_written_in_the_largest_unit(resource: str, amount: int, written: str) -> None:
    assert text(resource, amount) == written
    assert parse(resource, written) == amount


def test_amounts_that_are_not_given_are_the_defaults() -> None:
    default = Amounts(500, 10, 20)
    assert amounts(None, default) == default
    assert amounts({"memory": "1Ki"}, default) == Amounts(500, 1024, 20)
