"""Builds requests to the API server and parses its responses. Pure; sends nothing."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote, urlencode

from capk.api.names import Resource
from capk.errors import ApiError, Conflict, Denied, Forbidden, NotFound, Unreachable
from capk.redaction import redact

JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
_DOES_NOT_FIT: Final = "the server rejected our request due to an error in our request"
"""The API server's message for a JSON patch whose test fails or whose path is missing (its `jsonPatcher`).

For an invalid object the response also has causes; a webhook or an admission policy that denies has another message.
"""
_DENIED: Final = re.compile(r'admission webhook "[^"]*" denied the request')
"""The beginning of the message if a webhook denies a write (ToStatusErr of the admission plugins)."""
_MESSAGE_LIMIT: Final = 1024
_MOST_LOOKED_AT: Final = 16 * 1024


@dataclass(frozen=True)
class Request:
    """One request; `verb` is for errors and metrics, `method` is the HTTP method."""

    verb: str
    method: str
    resource: Resource
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = JSON

    @property
    def target(self) -> str:
        """Path and query; a resource without a version addresses its API group, without a group the list of groups."""
        group, version, plural, _ = self.resource
        parts = ["api"] if version and not group else ["apis", *([group] if group else [])]
        parts += [version, *(["namespaces", self.namespace] if self.namespace else []), plural] if version else []
        parts += [part for part in (self.name, self.subresource) if part]
        path = "".join(f"/{quote(part, safe='')}" for part in parts)
        return f"{path}?{urlencode(self.query)}" if self.query else path

    @property
    def subject(self) -> str:
        """The object or kind of the request, for errors, such as `kindclusters default/dev`."""
        where = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.resource.plural} {where}" if where else self.resource.plural

    def read_answer(self, status: int, content: bytes) -> dict[str, Any]:
        """Return the document of the response, or raise the ApiError for its status."""
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if 200 <= status < 300:
            if isinstance(document, dict):
                return document
            cause = f"the response is not a JSON object (HTTP {status}). Check that the address is an API server's"
            raise Unreachable(self.verb, self.subject, 0, cause)
        answer = document if isinstance(document, dict) else {}
        # An admission webhook may quote the object, and the message becomes a condition.
        message = redact(str(answer.get("message") or "no reason given")[:_MOST_LOOKED_AT])[:_MESSAGE_LIMIT]
        raise self._error_class(status, answer)(self.verb, self.subject, status, message)

    def _error_class(self, status: int, answer: Mapping[str, Any]) -> type[ApiError]:
        if _DENIED.match(str(answer.get("message"))):
            return Denied
        # Only the API server knows whether an object exists, and proxies answer 404 and 409 too. It answers with a
        # Status, but for a kind that it does not serve.
        is_its_word = answer.get("kind") == "Status" or self.name is None
        if status in (408, 429) or status >= 500 or (status in (404, 409) and not is_its_word):
            return Unreachable
        if status == 422:
            causes = (answer.get("details") or {}).get("causes") or ()
            foreign_uid = any(cause.get("field") == "metadata.uid" for cause in causes)
            is_misfit = self.content_type == JSON_PATCH and answer.get("message") == _DOES_NOT_FIT
            return Conflict if foreign_uid or is_misfit else ApiError
        return {401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict}.get(status, ApiError)


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds in a Retry-After header, 0 without one; the API server never sends a date."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isascii() and value.isdecimal() else 0.0


def as_body(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object as the body of a create request: with its kind, without the server's managedFields."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}
