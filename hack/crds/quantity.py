"""The schema of amounts of processor time, memory and disk."""

from capk.api.quantities import BYTES, CORES, CPU, MEMORY, STORAGE
from hack.crds.schema import Schema, record, rule, text

_CORES_MESSAGE = "must be a number of cores above 0, such as 500m or '2', in quotes if it has no unit"
_BYTES_MESSAGE = "must be an amount above 0 such as 512Mi, 4Gi or 10G, in quotes if it has no unit"


def amount(doc: str) -> Schema:
    """Return the schema of an amount in bytes."""
    return _quantity(doc, BYTES, _BYTES_MESSAGE)


def resources(doc: str) -> Schema:
    """Return the schema of an amount of each resource that an engine in a Pod requests."""
    return record(
        doc,
        {
            CPU: _quantity("Processor time in cores, such as `500m` for half of one.", CORES, _CORES_MESSAGE),
            MEMORY: amount("Memory, such as `1Gi`."),
            STORAGE: amount("Disk of the Pod's machine, such as `3Gi`."),
        },
    )


def _quantity(doc: str, pattern: str, message: str) -> Schema:
    # The digit above 0 is demanded without quantity(), whose cost the API server counts for each field.
    expression = f"self.matches(r'^(?:{pattern})$') && self.matches(r'[1-9]')"
    return text(doc, max_length=20, rules=[rule(expression, message)])
