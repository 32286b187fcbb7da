"""Composition of the provider process; the only package that imports kopf.

kopf imports the models of the official client if it can, so that handlers may pass it such objects. The provider passes
none, and the models take 11 MiB and 0.1 s. So their package is missing while kopf is imported, and only then: None in
`sys.modules` makes an import fail (https://docs.python.org/3/reference/import.html#the-module-cache).
"""

import sys
from typing import Any, cast

_modules = cast(dict[str, Any], sys.modules)
_models = _modules.setdefault("kubernetes.client", None)
try:
    import kopf  # noqa: F401
finally:
    if _models is None:
        del _modules["kubernetes.client"]
