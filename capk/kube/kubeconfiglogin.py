"""Logs in with a kubeconfig, by the loader of the official client: exec plugins, several files, rotated tokens.

Only the login with a kubeconfig imports this module, because the official client takes 11 MiB and 0.1 s. It uses only
the loader: requests use aiohttp directly, which takes half the CPU time of the official client's defaults (K25,
docs/decisions/0008-where-the-time-goes.md).
"""

import tempfile
from typing import Any, Final, cast

from capk.kube.credentials import Credentials
from capk.kube.login import Login, UnusableCredentials
from capk.kube.officialclient import Configuration, RESTClientObject, config, kube_config

# The loader and the REST client have no type annotations.
_config: Final = cast(Any, config)
_kube_config: Final = cast(Any, kube_config)


async def log_in(credentials: Credentials) -> Login:
    """Return the login of the kubeconfig; the key files for TLS exist only during this call.

    The loader writes them (0600) and would keep them until the process ends, or for ever if it is killed. It also
    caches their names by content.

    Raises UnusableCredentials or OSError if the kubeconfig cannot be used. For an unexpected file, the loader raises
    any exception and quotes the file.
    """
    configuration = Configuration()
    with tempfile.TemporaryDirectory(prefix="capk-") as private:
        try:
            await _config.load_kube_config(
                config_file=credentials.kubeconfig_paths(),
                context=credentials.context,
                client_configuration=configuration,
                persist_config=False,  # the user's kubeconfig is never written
                temp_file_path=private,
            )
            return await _login(configuration)
        except config.ConfigException as error:
            raise UnusableCredentials(str(error)) from None
        finally:
            _kube_config._cleanup_temp_files()


async def _login(configuration: Configuration) -> Login:
    header = await configuration.get_api_key_with_prefix("BearerToken")
    authorization = header.strip() if header else None
    return Login.to(
        str(configuration.host),
        cast(Any, RESTClientObject)(configuration).ssl_context,
        lambda: authorization,
        proxy=configuration.proxy,
        server_name=configuration.tls_server_name,
    )
