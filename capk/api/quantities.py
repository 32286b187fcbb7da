"""Amounts of processor time, memory and disk, as Kubernetes writes them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, Final

CORES: Final = r"[0-9]{1,6}(?:\.[0-9]{1,3}|m)?"
BYTES: Final = r"[0-9]{1,15}(?:\.[0-9]{1,3})?(?:[kMGT]|[KMGT]i)?"
"""What an object may contain. Kubernetes has more units, and powers of ten, which no engine needs."""
_BINARY: Final = {"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4}
_UNITS: Final[Mapping[str, int | Fraction]] = {
    "": 1,
    "m": Fraction(1, 1000),
    "k": 1000,
    "M": 1000**2,
    "G": 1000**3,
    "T": 1000**4,
    **_BINARY,
}
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

    Source: Kubernetes apimachinery/pkg/api/resource/quantity.go. Raises ValueError for anything that is not an amount
    above 0; the text does not quote it.
    """
    given, pattern = str(value), CORES if resource == CPU else BYTES
    if not re.fullmatch(pattern, given, re.ASCII):
        raise ValueError("is not an amount such as 500m or 2" if resource == CPU else "is not an amount such as 4Gi")
    number = given.rstrip("kKmMGTi")
    amount = Fraction(number) * _UNITS[given[len(number) :]]
    if amount <= 0:
        raise ValueError("must be more than 0")
    return ceil(amount * 1000 if resource == CPU else amount)


def text(resource: str, amount: int) -> str:
    """Return an amount as Kubernetes writes it: in the largest unit in which it is a whole number."""
    if resource == CPU:
        return f"{amount}m" if amount % 1000 else str(amount // 1000)
    for unit, size in reversed(_BINARY.items()):
        if amount and amount % size == 0:
            return f"{amount // size}{unit}"
    return str(amount)
