import asyncio
import base64
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import tenacity
from aiohttp import web
from aiohttp.test_utils import TestServer

from capk.api.names import KIND_CLUSTERS, SECRETS, Resource
from capk.api.rights import Access
from capk.errors import ApiError, Conflict, Forbidden, NotFound, Unreachable
from capk.kube import credentials
from capk.kube.client import KubeClient
from capk.kube.credentials import Credentials
from capk.kube.protocol import Change
from capk.kube.throttle import Throttle
from capk.kube.transport import Transport
from capkdev.certificates import Authority

CLUSTERS = "/apis/infrastructure.cluster.x-k8s.io/v1alpha1/namespaces/default/kindclusters"
AUTHORITY = Authority("unit tests")
OTHER_AUTHORITY = Authority("somewhere else")
DEV = {"metadata": {"name": "dev", "namespace": "default"}}
CHANGE = [{"op": "remove", "path": "/a"}]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiServer:
    """Answers each request with the next scripted answer, repeats the last one, and records requests."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.answers: list[Handler] = [answer(200, {})]
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(app, scheme="https")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.requests.append(
            (request.method, request.raw_path, dict(request.headers), json.loads(text) if text else None)
        )
        handler = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await handler(request)


def answer(status: int, body: Any = None, **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        if isinstance(body, bytes):
            return web.Response(status=status, body=body, headers=headers)
        return web.json_response(body if body is not None else failure(status), status=status, headers=headers)

    return handler


def failure(status: int, **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "status": "Failure", "code": status, "message": f"server says {status}", **details}


async def never(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(1000)
    raise AssertionError


class NotedThrottle(Throttle):
    """Records requested pauses instead of waiting."""

    def __init__(self) -> None:
        super().__init__(max_in_flight=10)
        self.pauses: list[float] = []

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's TLS context with its certificate."""
    return server_context(tmp_path_factory.mktemp("tls"), "127.0.0.1")


def server_context(folder: Path, host: str) -> ssl.SSLContext:
    file = folder / "server.pem"
    file.write_bytes(b"".join(AUTHORITY.issue_server("kube-apiserver", [host])))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


@pytest.fixture
async def api(tls: ssl.SSLContext) -> AsyncIterator[ApiServer]:
    api = ApiServer()
    await api.server.start_server(ssl=tls)
    yield api
    await api.server.close()


@pytest.fixture
async def named_api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    """A server whose certificate has a name but not its address."""
    api = ApiServer()
    await api.server.start_server(ssl=server_context(tmp_path, "api.example"))
    yield api
    await api.server.close()


@pytest.fixture
def kubeconfig(api: ApiServer, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, str(api.server.make_url("")), token="first")
    return path


def write_kubeconfig(
    path: Path, url: str, *, authority: Authority = AUTHORITY, server: dict[str, str] | None = None, **user: str
) -> None:
    # Without an authority each client would read all those of the system: 70 ms.
    data = base64.b64encode(authority.certificate).decode()
    cluster = {"server": url, "certificate-authority-data": data, **(server or {})}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(json.dumps(document))


class Requests:
    """Counts requests like the metrics."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    def __call__(self, verb: str, resource: str, code: str) -> None:
        self.seen.append((verb, resource, code))


@pytest.fixture
async def throttle() -> NotedThrottle:
    return NotedThrottle()


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
async def client(kubeconfig: Path, throttle: NotedThrottle, requests: Requests) -> AsyncIterator[KubeClient]:
    transport = Transport(Credentials(str(kubeconfig)), timeout_seconds=5, pool_size=4, reload_seconds=0)
    await transport.open()
    client = KubeClient(transport, throttle, requests, read_wait=tenacity.wait_none())
    yield client
    await client.close()


async def test_get_asks_with_the_token_and_returns_the_object(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(200, {"spec": {"a": 1}})]
    assert await client.get(KIND_CLUSTERS, "default", "dev") == {"spec": {"a": 1}}
    method, path, headers, _ = api.requests[0]
    assert (method, path) == ("GET", f"{CLUSTERS}/dev")
    assert headers["Authorization"] == "Bearer first"
    assert headers["User-Agent"] == "capk"


async def test_core_group_has_its_own_path(api: ApiServer, client: KubeClient) -> None:
    await client.get(SECRETS, "default", "dev-config")
    await client.get(Resource("", "v1", "nodes", "Node"), None, "n")
    assert [path for _, path, *_ in api.requests] == [
        "/api/v1/namespaces/default/secrets/dev-config",
        "/api/v1/nodes/n",
    ]


async def test_odd_name_cannot_leave_its_place_in_the_path(api: ApiServer, client: KubeClient) -> None:
    for name in ("../x?y#z%2f", ".."):
        await client.get(KIND_CLUSTERS, "default", name)
    assert [path for _, path, *_ in api.requests] == [f"{CLUSTERS}/..%2Fx%3Fy%23z%252f", f"{CLUSTERS}/.."]


async def test_list_gives_items_their_kind(api: ApiServer, client: KubeClient) -> None:
    items = {"metadata": {"resourceVersion": "77"}, "items": [{"metadata": {"name": "s"}}]}
    api.answers = [answer(200, items)]
    listing = await client.list(SECRETS, label_selector="a=b,c")
    assert listing.resource_version == "77"
    assert listing.items == [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}]
    assert (await client.list(SECRETS, "default")).items == listing.items
    assert [path for _, path, *_ in api.requests] == [
        "/api/v1/secrets?limit=5&labelSelector=a%3Db%2Cc",
        "/api/v1/namespaces/default/secrets?limit=5",
    ]


@pytest.mark.parametrize("body", [{}, {"items": []}, {"metadata": {"resourceVersion": ""}, "items": []}, {"ok": True}])
async def test_answer_of_a_proxy_is_no_empty_list(api: ApiServer, client: KubeClient, body: Any) -> None:
    """Every object that a list lacks counts as gone."""
    api.answers = [answer(200, body)]
    with pytest.raises(Unreachable, match="not a list"):
        await client.list(KIND_CLUSTERS)


async def test_list_is_put_together_from_its_pages(api: ApiServer, client: KubeClient) -> None:
    page = {"metadata": {"resourceVersion": "77", "continue": "t/0"}, "items": [{"metadata": {"name": "a"}}]}
    last = {"metadata": {"resourceVersion": "77"}, "items": [{"metadata": {"name": "b", "managedFields": [{}]}}]}
    api.answers = [answer(200, page), answer(200, last)]
    listing = await client.list(SECRETS, label_selector="a=b")
    assert [item["metadata"] for item in listing.items] == [{"name": "a"}, {"name": "b"}]
    assert listing.resource_version == "77"
    first = "/api/v1/secrets?limit=5&labelSelector=a%3Db"
    assert [path for _, path, *_ in api.requests] == [first, f"{first}&continue=t%2F0"]


async def test_field_selector_reaches_the_server(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(200, {"metadata": {"resourceVersion": "77"}, "items": []})]
    await client.list(SECRETS, field_selector="a.b=c")
    assert api.requests[0][1] == "/api/v1/secrets?limit=5&fieldSelector=a.b%3Dc"


async def watched(client: KubeClient) -> list[Change]:
    return [change async for change in client.watch(SECRETS, "default", label_selector="a=b", version="7")]


async def test_watch_yields_changes_until_the_server_ends_it(
    api: ApiServer, client: KubeClient, requests: Requests
) -> None:
    secret = {"metadata": {"name": "s", "resourceVersion": "8", "managedFields": [{}]}}
    bookmark = {"metadata": {"resourceVersion": "9"}}
    events = [{"type": "ADDED", "object": secret}, {"type": "BOOKMARK", "object": bookmark}]
    api.answers = [answer(200, b"".join(json.dumps(event).encode() + b"\n" for event in events))]
    changes = await watched(client)
    assert [(change.type, change.version) for change in changes] == [("ADDED", "8"), ("BOOKMARK", "9")]
    assert changes[0].object["metadata"] == {"name": "s", "resourceVersion": "8"}
    _, path, headers, _ = api.requests[0]
    assert path.startswith("/api/v1/namespaces/default/secrets?watch=1&")
    assert "labelSelector=a%3Db&resourceVersion=7" in path
    assert headers["Authorization"] == "Bearer first"
    assert requests.seen == [("watch", "secrets", "200")]


@pytest.mark.parametrize(
    ("given", "error", "status"),
    [
        (answer(403), Forbidden, 403),
        (answer(503), Unreachable, 503),
        (answer(200, b'{"type": "ERROR", "object": {"kind": "Status", "code": 410}}\n'), ApiError, 410),
        (answer(200, b'{"type": "ADDED", "object": {"metada'), Unreachable, 0),
        (answer(200, b"[]\n"), ApiError, 410),
    ],
    ids=["denied", "overloaded", "too old", "cut off", "not an event"],
)
async def test_watch_that_cannot_go_on_raises(
    api: ApiServer, client: KubeClient, given: Handler, error: type[ApiError], status: int
) -> None:
    api.answers = [given]
    with pytest.raises(error) as raised:
        await watched(client)
    assert raised.value.status == status


async def test_watch_takes_new_credentials_after_a_401(api: ApiServer, client: KubeClient, kubeconfig: Path) -> None:
    api.answers = [answer(401), answer(200, b"")]
    write_kubeconfig(kubeconfig, str(api.server.make_url("")), token="second")
    with pytest.raises(Forbidden):
        await watched(client)
    assert await watched(client) == []
    assert api.requests[1][2]["Authorization"] == "Bearer second"


@pytest.mark.rule("K23")
async def test_every_write_names_its_field_manager(api: ApiServer, client: KubeClient) -> None:
    await client.create(KIND_CLUSTERS, DEV)
    await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)
    await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE, subresource="status")
    assert [(method, path) for method, path, *_ in api.requests] == [
        ("POST", f"{CLUSTERS}?fieldManager=capk"),
        ("PATCH", f"{CLUSTERS}/dev?fieldManager=capk"),
        ("PATCH", f"{CLUSTERS}/dev/status?fieldManager=capk"),
    ]


async def test_patches_are_json_patches(api: ApiServer, client: KubeClient) -> None:
    await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)
    ((_, _, headers, body),) = api.requests
    assert (headers["Content-Type"], body) == ("application/json-patch+json", CHANGE)


async def test_created_object_has_its_kind_and_no_managed_fields(api: ApiServer, client: KubeClient) -> None:
    obj = {"metadata": {**DEV["metadata"], "managedFields": [{"manager": "x"}]}, "spec": {}}
    await client.create(KIND_CLUSTERS, obj)
    assert api.requests[0][3] == {
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1alpha1",
        "kind": "KINDCluster",
        "metadata": DEV["metadata"],
        "spec": {},
    }
    assert "managedFields" in obj["metadata"]


async def test_delete_can_insist_on_the_uid(api: ApiServer, client: KubeClient) -> None:
    await client.delete(KIND_CLUSTERS, "default", "dev")
    await client.delete(KIND_CLUSTERS, "default", "dev", uid="u1")
    without, with_uid = (body for *_, body in api.requests)
    assert "preconditions" not in without
    assert with_uid["preconditions"] == {"uid": "u1"}
    assert with_uid["propagationPolicy"] == "Background"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ApiError),
        (401, Forbidden),
        (403, Forbidden),
        (404, NotFound),
        (408, Unreachable),
        (409, Conflict),
        (410, ApiError),
        (422, ApiError),
        (429, Unreachable),
        (500, Unreachable),
        (503, Unreachable),
        (504, Unreachable),
    ],
)
async def test_status_becomes_our_error(status: int, error: type[ApiError], api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(status)]
    with pytest.raises(ApiError) as raised:
        await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)
    assert type(raised.value) is error
    assert str(raised.value) == f"patch kindclusters default/dev: server says {status} (HTTP {status})"


@pytest.mark.rule("K22")
async def test_foreign_uid_is_a_conflict(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(422, failure(422, details={"causes": [{"field": "metadata.uid", "message": "immutable"}]}))]
    with pytest.raises(Conflict):
        await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)
    api.answers = [answer(422, failure(422, details={"causes": [{"field": "spec.clusterName"}]}))]
    with pytest.raises(ApiError) as raised:
        await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)
    assert not isinstance(raised.value, Conflict)


@pytest.mark.rule("K22")
async def test_json_patch_that_does_not_fit_is_a_conflict(api: ApiServer, client: KubeClient) -> None:
    said = "the server rejected our request due to an error in our request"
    api.answers = [answer(422, failure(422, message=said))]
    with pytest.raises(Conflict):
        await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)


@pytest.mark.parametrize("status", [400, 403, 404, 408, 409, 410, 413, 422, 429, 500, 502, 503, 504, 507])
async def test_write_that_a_webhook_denies_is_refused_whatever_its_status(
    api: ApiServer, client: KubeClient, status: int
) -> None:
    """A webhook chooses the status: 409 is no conflict, 404 no missing object, 503 no trouble of the server."""
    said = 'admission webhook "policy.example.org" denied the request: no clusters on Fridays'
    api.answers = [answer(status, failure(status, message=said))]
    with pytest.raises(ApiError, match="no clusters on Fridays") as raised:
        await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)
    assert raised.value.is_refusal
    assert not isinstance(raised.value, Conflict | NotFound | Unreachable)


async def test_read_is_tried_again_when_the_server_is_in_trouble(
    api: ApiServer, client: KubeClient, requests: Requests
) -> None:
    api.answers = [answer(500), answer(429), answer(200, {"ok": True})]
    assert await client.get(KIND_CLUSTERS, "default", "dev") == {"ok": True}
    assert requests.seen == [("get", "kindclusters", code) for code in ("500", "429", "200")]


async def test_read_gives_up_in_the_end(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(503)]
    with pytest.raises(Unreachable):
        await client.list(KIND_CLUSTERS)
    assert len(api.requests) == 4


async def test_missing_object_is_not_asked_for_again(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(404)]
    with pytest.raises(NotFound):
        await client.get(KIND_CLUSTERS, "default", "dev")
    assert len(api.requests) == 1


async def test_write_is_never_tried_again(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(500), answer(200, {})]
    with pytest.raises(Unreachable):
        await client.create(KIND_CLUSTERS, DEV)
    assert len(api.requests) == 1


async def test_server_that_asks_for_silence_gets_it(
    api: ApiServer, client: KubeClient, throttle: NotedThrottle
) -> None:
    api.answers = [
        answer(429, **{"Retry-After": "7"}),
        answer(503, **{"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}),
        answer(429, **{"Retry-After": "-5"}),
        answer(200, {}, **{"Retry-After": "9"}),
    ]
    await client.get(KIND_CLUSTERS, "default", "dev")
    assert throttle.pauses == [7, 0, 0]


async def test_no_answer_in_time_is_unreachable(kubeconfig: Path, api: ApiServer, requests: Requests) -> None:
    api.answers = [never]
    client = await KubeClient.connect(kubeconfig=str(kubeconfig), request_timeout_seconds=0.05, observe=requests)
    with pytest.raises(Unreachable, match="did not answer in time"):
        await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)
    assert requests.seen == [("patch", "kindclusters", "none")]
    await client.close()


async def test_no_server_is_unreachable(client: KubeClient, api: ApiServer) -> None:
    await api.server.close()
    with pytest.raises(Unreachable, match="cannot be reached") as raised:
        await client.get(KIND_CLUSTERS, "default", "dev")
    assert raised.value.status == 0


async def test_connection_cut_in_the_middle_is_unreachable(client: KubeClient, api: ApiServer) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    api.answers = [cut]
    with pytest.raises(Unreachable):
        await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)


@pytest.mark.parametrize("garbage", [b"", b"<html>a proxy</html>", b"[1]", b'"text"', b"\xff\xfe{"])
@pytest.mark.parametrize("status", [200, 500])
async def test_garbage_is_unreachable(status: int, garbage: bytes, api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(status, garbage)]
    with pytest.raises(Unreachable):
        await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)


async def test_cancelled_request_frees_its_place(kubeconfig: Path, api: ApiServer) -> None:
    arrived = asyncio.Event()

    async def hang(request: web.Request) -> web.StreamResponse:
        arrived.set()
        return await never(request)

    api.answers = [hang, answer(200, {})]
    client = await KubeClient.connect(kubeconfig=str(kubeconfig), max_in_flight=1)
    asking = asyncio.create_task(client.patch(KIND_CLUSTERS, "default", "dev", CHANGE))
    await arrived.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert await client.get(KIND_CLUSTERS, "default", "dev") == {}
    await client.close()


async def test_served_group_tells_its_preferred_version(api: ApiServer, client: KubeClient) -> None:
    others = {"groups": [{"name": "apps", "preferredVersion": {"version": "v1"}}]}
    absent = [answer(404, b"404 page not found"), answer(200, others)]
    api.answers = [answer(200, {"preferredVersion": {"version": "v1beta2"}}), *absent, answer(200, {})]
    assert await client.serves("cluster.x-k8s.io") == "v1beta2"
    assert await client.serves("cluster.x-k8s.io") is None
    assert await client.serves("cluster.x-k8s.io") is None
    assert [path for _, path, *_ in api.requests[:3]] == ["/apis/cluster.x-k8s.io", "/apis/cluster.x-k8s.io", "/apis"]


async def test_group_that_only_a_proxy_does_not_know_is_served(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(404, b"default backend - 404")]
    with pytest.raises(ApiError):
        await client.serves("cluster.x-k8s.io")
    served = {"groups": [{"name": "cluster.x-k8s.io", "preferredVersion": {"version": "v1beta2"}}]}
    api.answers = [answer(404, b"default backend - 404"), answer(200, served)]
    assert await client.serves("cluster.x-k8s.io") == "v1beta2"


@pytest.mark.parametrize("body", [b"default backend - 404", b"404 page not found", b"{}", b'{"error": "no route"}'])
@pytest.mark.parametrize("status", [404, 409])
async def test_answer_of_a_proxy_proves_nothing_about_an_object(
    status: int, body: bytes, api: ApiServer, client: KubeClient
) -> None:
    api.answers = [answer(status, body)]
    for asked in (
        lambda: client.delete(SECRETS, "default", "dev-kubeconfig", uid="u1"),
        lambda: client.patch(KIND_CLUSTERS, "default", "dev", CHANGE),
        lambda: client.get(KIND_CLUSTERS, "default", "dev"),
    ):
        with pytest.raises(Unreachable):
            await asked()


async def test_list_of_a_kind_that_is_not_served_is_not_found(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(404, b"404 page not found")]
    with pytest.raises(NotFound):
        await client.list(KIND_CLUSTERS)


async def test_secret_that_a_webhook_quotes_does_not_reach_the_error(api: ApiServer, client: KubeClient) -> None:
    key = base64.b64encode(b"-----BEGIN PRIVATE KEY-----" + b"x" * 900).decode()
    quoted = f'admission webhook "w" denied the request: client-key-data: {key} is not allowed'
    api.answers = [answer(403, failure(403, message=quoted))]
    with pytest.raises(ApiError) as raised:
        await client.create(SECRETS, DEV)
    assert key[:20] not in f"{raised.value} {raised.value.message}"
    assert 'admission webhook "w" denied the request' in raised.value.message


async def test_refused_credentials_are_read_again(
    api: ApiServer, client: KubeClient, kubeconfig: Path, requests: Requests
) -> None:
    write_kubeconfig(kubeconfig, client.server, token="second")
    api.answers = [answer(401), answer(200, {"ok": True})]
    assert await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE) == {"ok": True}
    assert [headers["Authorization"] for _, _, headers, _ in api.requests] == ["Bearer first", "Bearer second"]
    assert [code for *_, code in requests.seen] == ["401", "200"]


async def test_credentials_that_stay_refused_are_an_error(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(401)]
    with pytest.raises(Forbidden):
        await client.get(KIND_CLUSTERS, "default", "dev")
    assert len(api.requests) == 2


async def test_many_refusals_at_once_read_the_credentials_once(
    api: ApiServer, kubeconfig: Path, throttle: NotedThrottle
) -> None:
    transport = Transport(Credentials(str(kubeconfig)), timeout_seconds=5, pool_size=4)
    await transport.open()
    client = KubeClient(transport, throttle)
    api.answers = [answer(401)]
    answers = await asyncio.gather(
        *(client.patch(KIND_CLUSTERS, "default", "dev", CHANGE) for _ in range(5)), return_exceptions=True
    )
    assert {type(error) for error in answers} == {Forbidden}
    assert len(api.requests) == 5  # just read, so wrong rather than old
    await client.close()


async def test_many_refusals_at_once_are_all_cured_by_one_reading(
    api: ApiServer, kubeconfig: Path, client: KubeClient, throttle: NotedThrottle
) -> None:
    async def only_second(request: web.Request) -> web.StreamResponse:
        return await answer(200 if "second" in request.headers["Authorization"] else 401, {})(request)

    api.answers = [only_second]
    write_kubeconfig(kubeconfig, client.server, token="second")
    transport = client._transport
    await asyncio.gather(*(client.patch(KIND_CLUSTERS, "default", "dev", CHANGE) for _ in range(9)))
    assert transport.generation == 2


async def test_exec_plugin_is_asked_for_the_token(api: ApiServer, tmp_path: Path) -> None:
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t"}}
    path = tmp_path / "exec"
    plugin = {"apiVersion": credential["apiVersion"], "command": "echo", "args": [json.dumps(credential)]}
    write_kubeconfig(path, str(api.server.make_url("")), exec=plugin)  # type: ignore[arg-type]
    client = await KubeClient.connect(kubeconfig=str(path))
    await client.get(KIND_CLUSTERS, "default", "dev")
    assert api.requests[0][2]["Authorization"] == "Bearer t"
    await client.close()


async def test_session_for_watches_has_the_same_credentials(api: ApiServer, client: KubeClient) -> None:
    async with await client.session() as session, session.get(f"{client.server}/x") as response:
        assert response.status == 200
    assert api.requests[0][2]["Authorization"] == "Bearer first"


async def test_session_can_be_renewed(api: ApiServer, client: KubeClient, kubeconfig: Path) -> None:
    write_kubeconfig(kubeconfig, client.server, token="second")
    async with await client.session(renew=True) as session:
        assert session.headers["Authorization"] == "Bearer second"


async def test_bodies_and_tokens_are_never_logged(
    api: ApiServer, client: KubeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = {"metadata": {"name": "s", "namespace": "default"}, "data": {"value": "aHVzaC1odXNo"}}
    api.answers = [answer(200, secret), answer(500)]
    await client.create(SECRETS, secret)
    with pytest.raises(Unreachable):
        await client.create(SECRETS, secret)
    assert "aHVzaC1odXNo" not in caplog.text
    assert "first" not in caplog.text


@pytest.mark.parametrize(
    "server", ["https://me:hush@127.0.0.1:1", "https://hush@127.0.0.1:1", "https://[::1", "127.0.0.1:1", "ftp://x", "7"]
)
async def test_server_that_no_request_can_go_to_is_told_without_it(server: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    user, cluster = "{name: u, user: {token: hush}}", f'{{name: k, cluster: {{server: "{server}"}}}}'
    context = "{name: c, context: {cluster: k, user: u}}"
    path.write_text(f"current-context: c\ncontexts: [{context}]\nclusters: [{cluster}]\nusers: [{user}]")
    with pytest.raises(Unreachable, match="its server is not") as raised:
        await KubeClient.connect(kubeconfig=str(path))
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (None, "there is no such file"),
        ("token: hush\n\t{unclosed", "it is malformed"),
        ("[hush]", "it is malformed"),
        ("", "it is malformed"),
        ("kind: Config", "current-context"),
        ("kind: Config\ncurrent-context: x\ncontexts: []\nclusters: []\nusers: []", "name x"),
        ("current-context: x\ncontexts: [{name: x, token: hush}]", "Expected key context"),
    ],
)
async def test_unusable_kubeconfig_is_told_by_its_path(text: str | None, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(Unreachable, match=cause) as raised:
        await KubeClient.connect(kubeconfig=str(path))
    assert f"the kubeconfig {path} cannot be used" in str(raised.value)
    assert "hush" not in str(raised.value)


async def test_unknown_context_is_told(kubeconfig: Path) -> None:
    with pytest.raises(Unreachable, match="context elsewhere"):
        await KubeClient.connect(kubeconfig=str(kubeconfig), context="elsewhere")


@pytest.fixture
def account(api: ApiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The directory that the kubelet mounts in a pod."""
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_bytes(AUTHORITY.certificate)
    monkeypatch.setattr(credentials, "TOKEN_FILE", tmp_path / "token")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(api.server.host))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.server.port))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return tmp_path


@pytest.fixture
async def pod(account: Path, throttle: NotedThrottle, requests: Requests) -> AsyncIterator[KubeClient]:
    """The client of a provider in a pod."""
    transport = Transport(Credentials(), timeout_seconds=5, pool_size=4, reload_seconds=0)
    await transport.open()
    client = KubeClient(transport, throttle, requests, read_wait=tenacity.wait_none())
    yield client
    await client.close()


async def test_pod_logs_in_with_its_token(api: ApiServer, pod: KubeClient) -> None:
    await pod.get(KIND_CLUSTERS, "default", "dev")
    async with await pod.session() as session, session.get(f"{pod.server}/x") as response:
        assert response.status == 200
    assert [headers["Authorization"] for _, _, headers, _ in api.requests] == ["Bearer first"] * 2


async def test_rotated_token_of_a_pod_is_used_before_the_old_one_is_refused(
    api: ApiServer, pod: KubeClient, account: Path
) -> None:
    (account / "token").write_text("second\n")
    await pod.get(KIND_CLUSTERS, "default", "dev")
    async with await pod.session() as session:
        assert session.headers["Authorization"] == "Bearer second"
    assert [headers["Authorization"] for _, _, headers, _ in api.requests] == ["Bearer second"]
    assert pod._transport.generation == 1


async def test_token_of_a_pod_that_cannot_be_read_again_is_used_until_it_is_refused(
    api: ApiServer, pod: KubeClient, account: Path
) -> None:
    (account / "token").write_text("")
    await pod.get(KIND_CLUSTERS, "default", "dev")
    assert [headers["Authorization"] for _, _, headers, _ in api.requests] == ["Bearer first"]
    api.answers = [answer(401)]
    with pytest.raises(Unreachable, match=f"the service account of the pod cannot be used: {account}/token is empty"):
        await pod.patch(KIND_CLUSTERS, "default", "dev", CHANGE)


async def test_replaced_authority_of_a_pod_is_read_again(api: ApiServer, pod: KubeClient, account: Path) -> None:
    (account / "ca.crt").write_bytes(OTHER_AUTHORITY.certificate)
    await pod._transport.open()
    with pytest.raises(Unreachable, match="certificate verify failed"):
        await pod.patch(KIND_CLUSTERS, "default", "dev", CHANGE)
    assert api.requests == []
    (account / "ca.crt").write_bytes(AUTHORITY.certificate)
    assert await pod.patch(KIND_CLUSTERS, "default", "dev", CHANGE) == {}


async def test_service_account_is_missed_outside_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(Unreachable, match="service account"):
        await KubeClient.connect(in_cluster=True)


def test_credentials_are_looked_for_as_kubectl_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Credentials().kubeconfig_paths() == str(tmp_path / ".kube" / "config")
    assert not Credentials().has_kubeconfig()
    monkeypatch.setenv("KUBECONFIG", "/a:/b")
    assert Credentials().kubeconfig_paths() == "/a:/b"
    assert Credentials("/c").kubeconfig_paths() == "/c"
    assert not Credentials().use_service_account()
    assert Credentials(in_cluster=True).use_service_account()


async def test_server_is_known_by_the_name_that_the_kubeconfig_gives(named_api: ApiServer, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    server = {"tls-server-name": "api.example"}
    write_kubeconfig(path, str(named_api.server.make_url("")), server=server, token="first")
    client = await KubeClient.connect(kubeconfig=str(path))
    assert await client.get(KIND_CLUSTERS, "default", "dev") == {}
    # kopf's discovery and watches use this one, and pass only their own arguments.
    async with await client.session() as session, session.get(f"{client.server}/apis") as response:
        assert response.status == 200
    await client.close()


async def test_proxy_of_the_kubeconfig_wins_over_the_environment(
    kubeconfig: Path, api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    server = {"proxy-url": "http://localhost:1"}
    write_kubeconfig(kubeconfig, str(api.server.make_url("")), server=server, token="first")
    client = await KubeClient.connect(kubeconfig=str(kubeconfig))
    with pytest.raises(Unreachable, match="localhost:1"):
        await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)
    await client.close()


async def test_proxy_of_another_type_is_refused_without_its_password(kubeconfig: Path) -> None:
    server = {"proxy-url": "socks5://me:hush@localhost:1"}
    write_kubeconfig(kubeconfig, "https://api.example", server=server, token="first")
    with pytest.raises(Unreachable, match="proxy of type 'socks5'") as raised:
        await KubeClient.connect(kubeconfig=str(kubeconfig))
    assert "hush" not in str(raised.value)


async def test_replaced_authority_is_read_again(api: ApiServer, client: KubeClient, kubeconfig: Path) -> None:
    trust(client, OTHER_AUTHORITY, kubeconfig)
    await client._transport.open()
    write_kubeconfig(kubeconfig, client.server, token="second")
    assert await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE) == {}
    assert [headers["Authorization"] for _, _, headers, _ in api.requests] == ["Bearer second"]


async def test_authority_that_stays_wrong_is_an_error(api: ApiServer, client: KubeClient, kubeconfig: Path) -> None:
    trust(client, OTHER_AUTHORITY, kubeconfig)
    await client._transport.open()
    with pytest.raises(Unreachable, match="certificate verify failed"):
        await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)
    assert (api.requests, client._transport.generation) == ([], 3)


async def test_wrong_authority_is_read_again_only_now_and_then(api: ApiServer, kubeconfig: Path) -> None:
    write_kubeconfig(kubeconfig, str(api.server.make_url("")), authority=OTHER_AUTHORITY, token="first")
    transport = Transport(Credentials(str(kubeconfig)), timeout_seconds=5, pool_size=4)
    await transport.open()
    client = KubeClient(transport, NotedThrottle())
    for _ in range(3):
        with pytest.raises(Unreachable, match="certificate verify failed"):
            await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)
    assert transport.generation == 1
    await client.close()


async def test_session_for_watches_ends_when_newer_credentials_mend_tls(
    api: ApiServer, client: KubeClient, kubeconfig: Path
) -> None:
    trust(client, OTHER_AUTHORITY, kubeconfig)
    async with await client.session(renew=True) as session:
        write_kubeconfig(kubeconfig, client.server, token="second")
        with pytest.raises(RuntimeError, match="closed"):
            await session.get(f"{client.server}/apis")
        assert session.closed  # makes kopf log in again
    async with await client.session() as session, session.get(f"{client.server}/apis") as response:
        assert response.status == 200


async def test_session_for_watches_lives_on_when_the_credentials_cannot_be_read(
    client: KubeClient, kubeconfig: Path
) -> None:
    trust(client, OTHER_AUTHORITY, kubeconfig)
    async with await client.session(renew=True) as session:
        write_kubeconfig(kubeconfig, "https://api.example", server={"proxy-url": "none://x"})
        with pytest.raises(aiohttp.ClientSSLError):
            await session.get(f"{client.server}/apis")
        assert not session.closed


def trust(client: KubeClient, authority: Authority, kubeconfig: Path) -> None:
    """Write another authority than the server's into the kubeconfig."""
    write_kubeconfig(kubeconfig, client.server, authority=authority, token="first")


async def test_redirect_is_not_followed(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(302, {}, Location="/elsewhere")]
    with pytest.raises(ApiError):
        await client.get(KIND_CLUSTERS, "default", "dev")
    assert len(api.requests) == 1


async def test_closed_client_says_so(client: KubeClient) -> None:
    await client.close()
    with pytest.raises(Unreachable, match="not open"):
        await client.patch(KIND_CLUSTERS, "default", "dev", CHANGE)


async def test_requests_in_flight_are_bounded(kubeconfig: Path, api: ApiServer) -> None:
    in_flight = most = 0

    async def slow(_: web.Request) -> web.StreamResponse:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0.002)
        in_flight -= 1
        return web.json_response({})

    api.answers = [slow]
    client = await KubeClient.connect(kubeconfig=str(kubeconfig), max_in_flight=3)
    await asyncio.gather(*(client.get(KIND_CLUSTERS, "default", str(number)) for number in range(30)))
    assert most == 3
    await client.close()


async def test_server_is_asked_what_it_lets_us_list(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(201, {"status": {"allowed": True}}), answer(201, {"status": {"allowed": False}})]
    assert await client.may_list(KIND_CLUSTERS) is True
    assert await client.may_list(KIND_CLUSTERS) is False


async def test_right_is_asked_for_by_the_words_of_an_access_review(api: ApiServer, client: KubeClient) -> None:
    api.answers = [answer(201, {"status": {"allowed": True}})]
    assert await client.may(Access("patch", "g", "kinds/status", "dev")) is True
    ((*_, body),) = api.requests
    review = {"verb": "patch", "group": "g", "resource": "kinds", "subresource": "status", "namespace": "dev"}
    assert body["spec"] == {"resourceAttributes": review}
