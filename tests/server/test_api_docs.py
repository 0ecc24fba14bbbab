"""The OpenAPI description: every HTTP route is there, with its tag, its words and what it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from omni_command import version
from server.api_docs import TAGS
from server.app import create_app
from server.probes import Health, Readiness
from tests.server.harness import running, settings
from tests.server.scripted import ScriptedGenerator


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return create_app(settings(), [ScriptedGenerator()]).openapi()


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            yield f"{method} {path}", operation


def references(part: Any) -> Iterator[str]:
    """Every `$ref` inside."""
    if isinstance(part, dict):
        yield from (part[key] for key in part if key == "$ref")
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_it_says_what_it_is(schema: dict[str, Any]) -> None:
    info = schema["info"]
    assert (info["title"], info["version"]) == ("Mini-Omni voice chat", version())
    assert info["license"]["identifier"] == "Apache-2.0"
    assert "contact" not in info
    assert "(docs/protocol.md)" in info["description"]
    assert schema["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_every_operation_has_a_known_tag_words_and_an_answer(schema: dict[str, Any]) -> None:
    found = dict(operations(schema))
    assert {"get /health", "get /ready", "get /metrics", "post /v1/realtime/client_secrets"} <= set(found)
    for name, operation in found.items():
        assert len(operation["tags"]) == 1, name
        assert operation["tags"][0] in [tag["name"] for tag in TAGS], name
        assert operation["summary"], name
        assert operation["description"], name
        good = operation["responses"]["200"]["content"]
        assert all(content.get("schema") for content in good.values()), name


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    wanted = set(references(schema))
    assert wanted
    assert wanted <= {f"#/components/schemas/{name}" for name in schema["components"]["schemas"]}


def test_probes_need_no_key_and_all_else_may_be_sent_one(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        probe = name in ("get /health", "get /ready", "get /metrics")
        assert operation.get("security", schema["security"]) == ([{}] if probe else [{"key": []}, {}]), name


async def test_answers_are_as_described() -> None:
    async with running(ScriptedGenerator()) as server, httpx.AsyncClient(trust_env=False, base_url=server.base) as http:
        assert (await http.get("/openapi.json")).json()["openapi"].startswith("3.1")
        Health.model_validate((await http.get("/health")).json(), strict=True)
        assert Readiness.model_validate((await http.get("/ready")).json(), strict=True).ready
        assert "omni_ready 1.0" in (await http.get("/metrics")).text
        page = await http.get("/docs")
        assert "unsafe" not in page.headers["content-security-policy"]
        assert (await http.get("/docs/architecture.md")).status_code == 404
        assert (await http.get("/docs/..%2Fapp.py")).status_code == 404
