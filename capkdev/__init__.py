"""Control planes on the developer's machine: a fake kind and a local management cluster."""
