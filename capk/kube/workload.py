"""One question to the API server of a workload cluster: which version are you?"""

import base64
import ssl

import aiohttp
import yaml

TIMEOUT_SECONDS = 3.0
"""A workload cluster that was just created answers in milliseconds; where it is out of reach, waiting is in vain."""


async def server_version(kubeconfig: str) -> str | None:
    """Return the Kubernetes version, as in v1.36.3; None when there is no answer.

    Asks without credentials: every API server tells its version to anybody unless somebody forbade it.
    """
    cluster = yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        context = ssl.create_default_context(cadata=authority)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.get(f"{cluster['server']}/version", ssl=context) as answer:
                return str((await answer.json())["gitVersion"]) if answer.ok else None
    except (aiohttp.ClientError, TimeoutError, ssl.SSLError, KeyError, ValueError):
        return None
