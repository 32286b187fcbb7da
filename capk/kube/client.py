"""Get, list, create, patch and delete against the API server; maps responses to our errors.

Objects are plain dictionaries. Bodies are never logged. Every create and patch names its field manager (K23).
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Self

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, stop_after_delay
from tenacity.wait import wait_base, wait_random_exponential
from yarl import URL

from capk.api.names import FIELD_MANAGER, Resource
from capk.api.rights import Access
from capk.errors import ApiError, NotFound, Unreachable
from capk.kube.credentials import Credentials
from capk.kube.protocol import Change, Keep, Listing, whole
from capk.kube.request import JSON_PATCH, Request, as_body, retry_after
from capk.kube.throttle import Throttle
from capk.kube.transport import Transport

RequestObserver = Callable[[str, str, str], None]
"""Called for every request with verb, resource and HTTP status, or "none" without a response."""

_WRITTEN_BY: Final = {"fieldManager": FIELD_MANAGER}
_ACCESS_REVIEWS: Final = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
_MOST_IN_FLIGHT: Final = 8
"""Limit of parallel requests, and so of connections. Each connection costs a TLS handshake, and 256 KiB that asyncio
keeps for it. Eight keep this process busy."""
_READ_ATTEMPTS: Final = 4
_READ_SECONDS: Final = 45.0
PAGE_SIZE: Final = 5
"""Objects per page of a list. Everyone who may create Secrets may create hundreds with our label, of 1.5 MiB each. The
API server writes some characters, such as <, with six bytes, which makes up to 9 MiB of one, and reading a page takes
three times its size. What larger pages take does not come back: it remains between what is kept."""
_WATCH_SECONDS: Final = 240
"""How long the server keeps a watch. A connection that died without a word is noticed a little later."""
_WATCH_TIMEOUT: Final = aiohttp.ClientTimeout(total=_WATCH_SECONDS + 30, sock_connect=30)
_READ_WAIT: Final = wait_random_exponential(multiplier=0.25, max=10)


class KubeClient:
    """The API server of the management cluster; see `capk.kube.protocol.KubeApi` for the contract of each call.

    It retries reads a few times if the server does not answer or is overloaded. It never retries writes: the caller
    reads the object again first.
    """

    def __init__(
        self,
        transport: Transport,
        throttle: Throttle,
        observe: RequestObserver | None = None,
        read_wait: wait_base = _READ_WAIT,
    ) -> None:
        self._transport = transport
        self._throttle = throttle
        self._observe = observe
        self._read_wait = read_wait

    @classmethod
    async def connect(
        cls,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        in_cluster: bool | None = None,
        request_timeout_seconds: float = 30,
        max_in_flight: int = _MOST_IN_FLIGHT,
        observe: RequestObserver | None = None,
    ) -> Self:
        """Read the credentials and return a client; nothing is sent yet.

        in_cluster: None decides as kubectl does. Raises Unreachable if there are no usable credentials.
        """
        credentials = Credentials(kubeconfig, context, in_cluster)
        transport = Transport(credentials, timeout_seconds=request_timeout_seconds, pool_size=max_in_flight)
        await transport.open()
        return cls(transport, Throttle(max_in_flight=max_in_flight), observe)

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._transport.server

    async def session(self, *, renew: bool = False) -> aiohttp.ClientSession:
        """Return a new HTTP session with the same credentials, for kopf's watches; the caller closes it.

        renew: first read the credentials again, because the server refused them.
        """
        if renew:
            await self._transport.renew(self._transport.generation)
        return await self._transport.session()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        """Return one object."""
        return await self._read(Request("get", "GET", resource, namespace, name))

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
        keep: Keep = whole,
    ) -> Listing:
        """Return the objects, without managedFields, and the resource version of the list.

        It requests pages, which the server takes from one version: a page needs less memory than the whole response.
        keep: reduces each object as its page arrives.
        """
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = {"limit": str(PAGE_SIZE), **{name: value for name, value in selectors.items() if value}}
        items: list[dict[str, Any]] = []
        while True:
            answer = await self._read(Request("list", "GET", resource, namespace, query=query))
            # Items of built-in kinds have no `kind` field.
            items += (keep(as_body(resource, item)) for item in answer.get("items") or ())
            metadata = answer.get("metadata") or {}
            if not str(metadata.get("resourceVersion", "")).isdecimal():
                # What a list lacks counts as gone, so an answer of a proxy must not pass for one.
                cause = "the response is not a list of objects. Check that the address is an API server's"
                raise Unreachable("list", resource.plural, 0, cause)
            if not (rest := metadata.get("continue")):
                return Listing(items, str(metadata["resourceVersion"]))
            query = {**query, "continue": rest}

    async def create(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object; raises Conflict if the name exists."""
        namespace = obj["metadata"].get("namespace")
        body = as_body(resource, obj)
        return await self._send(Request("create", "POST", resource, namespace, query=_WRITTEN_BY, body=body))

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        operations: Sequence[Mapping[str, Any]],
        *,
        subresource: str | None = None,
    ) -> dict[str, Any]:
        """Change an object, or its status, by a JSON patch; raises Conflict if an operation does not apply."""
        request = Request(
            "patch",
            "PATCH",
            resource,
            namespace,
            name,
            subresource,
            _WRITTEN_BY,
            list(operations),
            content_type=JSON_PATCH,
        )
        return await self._send(request)

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        """Request the deletion of an object; with `uid`, raises Conflict if another object has that name now."""
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        await self._send(Request("delete", "DELETE", resource, namespace, name, body=options))

    async def watch(
        self, resource: Resource, namespace: str, *, label_selector: str, version: str
    ) -> AsyncIterator[Change]:
        """Yield the changes after a version, until the server ends the watch; an ApiError with 410 needs a new list.

        It has a connection of its own, so that it takes no other request's place.
        """
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "labelSelector": label_selector,
            "resourceVersion": version,
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        request = Request("watch", "GET", resource, namespace, query=query)
        try:
            async with await self._transport.session() as session:
                url = URL(f"{self.server}{request.target}", encoded=True)
                async with session.get(url, timeout=_WATCH_TIMEOUT, allow_redirects=False) as response:
                    if self._observe:
                        self._observe(request.verb, resource.plural, str(response.status))
                    if response.status != 200:
                        if response.status == 401:
                            await self._transport.renew(self._transport.generation)
                        request.read_answer(response.status, await response.read())
                    async for line in response.content:
                        yield _change(request, line)
        except TimeoutError:
            # The server has not ended the watch in its time.
            return
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            cause = f"the watch broke off: {str(error) or type(error).__name__}"
            raise Unreachable(request.verb, request.subject, 0, cause) from error

    async def serves(self, group: str) -> str | None:
        """Return the server's preferred version of an API group, or None if it does not serve the group."""
        try:
            answer = await self._read(Request("get", "GET", Resource(group, "", "apigroups", "APIGroup")))
        except NotFound:
            # A proxy may have answered that. Only the list of groups proves that one is missing.
            listed = (await self._read(Request("list", "GET", Resource("", "", "apigroups", "APIGroup")))).get("groups")
            answer = next((one for one in listed or () if one.get("name") == group), {})
        return str((answer.get("preferredVersion") or {}).get("version") or "") or None

    async def may_list(self, resource: Resource) -> bool:
        """Return whether we may list all objects of a kind; the question needs no permission."""
        return await self.may(Access("list", resource.group, resource.plural))

    async def may(self, access: Access) -> bool:
        """Return whether we have a permission; the question itself needs none."""
        body = as_body(_ACCESS_REVIEWS, {"metadata": {}, "spec": {"resourceAttributes": access.attributes()}})
        answer = await self._read(Request("review", "POST", _ACCESS_REVIEWS, body=body))
        return bool((answer.get("status") or {}).get("allowed"))

    async def _read(self, request: Request) -> dict[str, Any]:
        # The throttle waits for a Retry-After, for all requests; this wait is additional.
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Unreachable),
            stop=stop_after_attempt(_READ_ATTEMPTS) | stop_after_delay(_READ_SECONDS),
            wait=self._read_wait,
            reraise=True,
        )
        return await retrying(self._send, request)

    async def _send(self, request: Request) -> dict[str, Any]:
        generation = self._transport.generation
        try:
            status, content = await self._exchange(request)
        except Unreachable as error:
            # TLS failed before anything was sent. The certificate authority may have been replaced.
            is_tls = isinstance(error.__cause__, aiohttp.ClientSSLError)
            if not is_tls or not await self._transport.renew(generation):
                raise
            status, content = await self._exchange(request)
        if status == 401 and await self._transport.renew(generation):
            status, content = await self._exchange(request)
        return request.read_answer(status, content)

    async def _exchange(self, request: Request) -> tuple[int, bytes]:
        async with self._throttle():
            code = "none"
            try:
                status, headers, content = await self._transport.send(request)
                code = str(status)
            except TimeoutError as error:
                cause = "the API server did not answer in time"
                raise Unreachable(request.verb, request.subject, 0, cause) from error
            except (aiohttp.ClientError, OSError) as error:
                cause = f"the API server cannot be reached: {str(error) or type(error).__name__}"
                raise Unreachable(request.verb, request.subject, 0, cause) from error
            finally:
                if self._observe:
                    self._observe(request.verb, request.resource.plural, code)
        if status in (429, 503):
            self._throttle.pause(retry_after(headers))
        return status, content


def _change(request: Request, line: bytes) -> Change:
    """Return the event in one line of a watch. Raises ApiError if it is an error, and ValueError if it is not JSON."""
    document = json.loads(line)
    found = document.get("object") or {} if isinstance(document, dict) else {}
    if not isinstance(document, dict) or document.get("type") == "ERROR" or "metadata" not in found:
        raise ApiError(request.verb, request.subject, int(found.get("code") or 410), "the watch cannot go on")
    return Change(str(document.get("type")), as_body(request.resource, found))
