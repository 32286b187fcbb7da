"""Parts of status that several kinds share."""

from hack.crds.schema import Schema, choice, flag, instant, integer, listing, record, text


def conditions(doc: str) -> Schema:
    """Return the schema of metav1 conditions with the limits of Cluster API (C4).

    Cluster API copies reason and message into the Cluster, where a longer text would make every status patch fail.
    """
    condition = record(
        "The state of one aspect of the object.",
        {
            "type": text("Aspect of the object, such as `Ready`.", max_length=316, pattern=_CONDITION_TYPE),
            "status": choice("`True`, `False` or `Unknown`.", "True", "False", "Unknown"),
            "reason": text(
                "Cause, in one CamelCase word.", max_length=256, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
            ),
            "message": {
                "description": "Cause and next step, for people. Empty if there is nothing to report.",
                "type": "string",
                "maxLength": 10240,
            },
            "lastTransitionTime": instant("Time of the last change of `status`."),
            "observedGeneration": integer(
                "`metadata.generation` that this condition describes.", minimum=0, size="int64"
            ),
        },
        required=["type", "status", "reason", "message", "lastTransitionTime"],
    )
    return listing(doc, condition, max_items=32, keys=["type"])


_CONDITION_TYPE = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
)


def initialization(field: str, doc: str) -> Schema:
    """Return the schema of `initialization` with its one flag."""
    return record("Milestones that Cluster API waits for. They never go back.", {field: flag(doc)})


def observed_generation() -> Schema:
    """Return the schema of `observedGeneration`."""
    return integer("`metadata.generation` that this status describes.", minimum=0, size="int64")
