"""Amounts of processor time, memory and disk, as Kubernetes writes them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Final

_QUANTITY: Final = re.compile(
    r"(?P<number>[0-9]{1,18}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(?:(?P<unit>[numkMGTPE]|[KMGTPE]i)|[eE](?P<power>[+-]?[0-9]{1,2}))?"
)
_BINARY: Final = {f"{letter}i": 1024 ** (index + 1) for index, letter in enumerate("KMGTPE")}
_DECIMAL: Final = {letter: 1000 ** (index + 1) for index, letter in enumerate("kMGTPE")}
_SMALL: Final = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000)}
_UNITS: Final[Mapping[str, Fraction | int]] = {"": 1, **_BINARY, **_DECIMAL, **_SMALL}
CPU, MEMORY, STORAGE = "cpu", "memory", "ephemeral-storage"
RESOURCES: Final = (CPU, MEMORY, STORAGE)
"""The names of resources that an engine in a Pod requests."""


@dataclass(frozen=True)
class Amounts:
    """cpu: in thousandths of a core. memory, storage: in bytes; storage is what is on the disk of a machine."""

    cpu: int
    memory: int
    storage: int

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(self.cpu + other.cpu, self.memory + other.memory, self.storage + other.storage)

    def __mul__(self, number: int) -> "Amounts":
        return Amounts(self.cpu * number, self.memory * number, self.storage * number)

    def by_name(self) -> dict[str, int]:
        """Return the amounts by the names that Kubernetes gives to resources."""
        return dict(zip(RESOURCES, (self.cpu, self.memory, self.storage), strict=True))


def amounts(given: Mapping[str, Any] | None, default: Amounts) -> Amounts:
    """Return the amounts of a map of Kubernetes; each that is missing is the default's. Raises ValueError."""
    found = {
        name: default.by_name()[name] if (given or {}).get(name) is None else parse(name, (given or {})[name])
        for name in RESOURCES
    }
    return Amounts(found[CPU], found[MEMORY], found[STORAGE])


def parse(resource: str, value: object) -> int:
    """Return an amount in thousandths of a core or in bytes, rounded up.

    Source: Kubernetes apimachinery/pkg/api/resource/quantity.go. Raises ValueError for anything that is not a quantity
    above 0; the text does not quote it.
    """
    found = _QUANTITY.fullmatch(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None
    if found is None:
        raise ValueError("is not a quantity such as 500m, 2 or 4Gi")
    number = (
        Fraction(found["number"].rstrip(".")) * _UNITS[found["unit"] or ""] * Fraction(10) ** int(found["power"] or 0)
    )
    amount = ceil(number * 1000 if resource == CPU else number)
    if amount <= 0:
        raise ValueError("must be more than 0")
    return amount


def text(resource: str, amount: int) -> str:
    """Return an amount as Kubernetes writes it: in the largest unit in which it is a whole number."""
    if resource == CPU:
        return f"{amount}m" if amount % 1000 else str(amount // 1000)
    for unit, size in reversed(_BINARY.items()):
        if amount and amount % size == 0:
            return f"{amount // size}{unit}"
    return str(amount)
