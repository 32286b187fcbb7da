"""Names of the parts of a plan that the API server may refuse one by one."""

CLAIM, IDENTITY, ENDPOINT, REPLICAS, SECRET = "claim", "identity", "endpoint", "replicas", "secret"
PROVIDER_ID = "providerid"
"""The parts of a plan that the API server may refuse one by one; a Secret's part ends with a space and its name."""
ENGINE = "engine"
"""The same for the objects of an engine in a Pod; a space and the kind follow."""
REMOVAL, FINALIZER, ENGINE_REMOVAL = "removal", "finalizer", "engine removal"
"""The same while an object is deleted: the deletion of a Secret (a space and its name follow), and the last write."""
