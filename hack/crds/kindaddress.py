"""The schema of an address of the container engine's machine."""

from hack.crds.schema import Schema, rule, text


def address(doc: str) -> Schema:
    """Return the schema of an IP address to listen on."""
    # kind passes a name like "localhost" to the container engine, which rejects it.
    return text(
        doc,
        max_length=45,
        rules=[
            rule("isIP(self)", "must be an IP address such as 127.0.0.1, 0.0.0.0 or ::1; host names are not accepted")
        ],
    )
