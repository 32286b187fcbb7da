"""The parts of the official client that the provider uses, imported without the rest.

Its packages import all that they have. The loader of kubeconfigs needs a few modules. The rest, such as `dynamic` and
`stream` with their dependencies, takes a tenth of the time in which the provider starts, and 10 MiB while it runs.
So the packages are registered without running their `__init__.py`, and their modules are imported one by one. This
works only before any other import of `kubernetes`: `capk/manager/__init__.py` keeps kopf from importing it.
"""

import sys
from importlib.util import find_spec, module_from_spec

for _package in ("kubernetes", "kubernetes.aio"):
    if _package not in sys.modules and (_spec := find_spec(_package)):
        sys.modules[_package] = module_from_spec(_spec)

from kubernetes.aio import config  # noqa: E402
from kubernetes.aio.client import Configuration  # noqa: E402
from kubernetes.aio.client.rest import RESTClientObject  # noqa: E402
from kubernetes.aio.config import kube_config  # noqa: E402

__all__ = ["Configuration", "RESTClientObject", "config", "kube_config"]
