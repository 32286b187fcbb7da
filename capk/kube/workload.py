"""One question to the API server of a workload cluster: which version are you?"""

import ssl

import aiohttp

TIMEOUT_SECONDS = 3.0
"""A workload cluster that was just created answers in milliseconds; where it is out of reach, waiting is in vain."""


async def server_version(server: str, authority: str) -> str | None:
    """Return the Kubernetes version, as in v1.36.3; None when there is no answer.

    server: URL of the API server. authority: certificates that may vouch for it, PEM.

    Asks without credentials: every API server tells its version to anybody unless somebody forbade it.
    """
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        context = ssl.create_default_context(cadata=authority)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async with session.get(f"{server}/version", ssl=context) as answer:
                return str((await answer.json())["gitVersion"]) if answer.ok else None
    except (aiohttp.ClientError, TimeoutError, ssl.SSLError, KeyError, ValueError):
        return None
