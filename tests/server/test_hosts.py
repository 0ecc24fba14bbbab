"""DNS rebinding: a server without keys answers for its own names and for addresses only."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from pydantic import ValidationError
from starlette.types import Message, Scope
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server.hosts import AllowedHosts, HostCheck, host_name, read_hosts
from server.metrics import Metrics
from tests.server.harness import running, settings
from tests.server.scripted import ScriptedGenerator


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8000", "localhost"),
        ("localhost.:8000", "localhost"),
        ("127.0.0.1:8000", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("[FE80::1%25eth0]:1", "fe80::1%25eth0"),
        ("talk.example.org:", "talk.example.org"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("", None),
        (":8000", None),
        (".", None),
        ("::1", None),
        ("[::1", None),
        ("[localhost]", None),
        ("[]", None),
        ("localhost:8000:1", None),
        ("localhost:http", None),
        ("localhost@evil.example", None),
        ("evil.example/localhost", None),
        ("localhost,evil.example", None),
        ("local host", None),
        ("löcalhost", None),
        ("a" * 400, None),
    ],
)
def test_a_host_header_is_read(header: str, name: str | None) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("localhost", True),
        ("talk.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("10.2.3.4", True),
        ("fe80::1%25eth0", True),
        ("talk.example.org", True),
        ("a.b.example.com", True),
        ("box", True),
        ("example.com", False),
        ("example.org", False),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("evillocalhost", False),
        ("127.0.0.1.evil.example", False),
        ("2130706433", False),
        ("127.1", False),
    ],
)
def test_names_must_be_listed_addresses_need_not(name: str, allowed: bool) -> None:
    hosts = AllowedHosts(read_hosts(" Talk.Example.org., *.example.com ,"), bound_to="Box")
    assert (name in hosts) is allowed


def test_a_star_allows_every_name_and_the_bound_wildcard_address_none() -> None:
    assert "evil.example" in AllowedHosts(("*",), "0.0.0.0")
    for bound_to in ("0.0.0.0", "::", ""):
        assert "evil.example" not in AllowedHosts((), bound_to)


def test_listed_names_are_normalised() -> None:
    assert read_hosts("Bücher.example, *.LAN, 192.168.1.2, ::1") == (
        "xn--bcher-kva.example",
        "*.lan",
        "192.168.1.2",
        "::1",
    )


@pytest.mark.parametrize("wrong", ["https://talk.example.org", "talk.example.org:8000", "a/b", "*.*.org", "a b", "*."])
def test_what_is_no_name_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(ValidationError, match="without scheme, port and path"):
        settings(allowed_hosts=wrong)


def test_hosts_matter_without_keys_or_where_they_are_listed() -> None:
    assert settings().checks_hosts
    assert not settings(api_keys="k").checks_hosts
    assert settings(api_keys="k", allowed_hosts="talk.example.org").checks_hosts


async def reach(headers: list[tuple[bytes, bytes]], kind: str = "http", denial: bool = True) -> list[Message]:
    """What the check answers to a request with these headers; nothing where it lets the request through."""
    sent: list[Message] = []

    async def app(*_: object) -> None:
        pass

    async def receive() -> Message:
        raise AssertionError("refused before anything is read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {"type": kind, "headers": headers, "extensions": {"websocket.http.response": {}} if denial else {}}
    await HostCheck(app, AllowedHosts((), ""), Metrics())(scope, receive, send)
    return sent


async def test_a_request_needs_exactly_one_host() -> None:
    assert not await reach([(b"host", b"localhost")])
    for headers in ([], [(b"host", b"localhost")] * 2, [(b"host", b"localhost"), (b"host", b"evil.example")]):
        assert (await reach(headers))[0]["status"] == 400


async def test_a_forwarded_host_does_not_count() -> None:
    headers = [(b"host", b"evil.example"), (b"x-forwarded-host", b"localhost"), (b"forwarded", b"host=localhost")]
    assert (await reach(headers))[0]["status"] == 421
    assert not await reach([(b"host", b"localhost"), (b"x-forwarded-host", b"evil.example")])


async def test_a_web_socket_is_refused_before_it_is_accepted() -> None:
    evil = [(b"host", b"evil.example")]
    assert (await reach(evil, "websocket"))[0] == {
        "type": "websocket.http.response.start",
        "status": 421,
        "headers": (await reach(evil))[0]["headers"],
    }
    assert [message["type"] for message in await reach(evil, "websocket", denial=False)] == ["websocket.close"]
    assert not await reach([(b"host", b"evil.example")], "lifespan")


@pytest.mark.parametrize("path", ["/", "/docs", "/metrics", "/v1/models", "/health"])
async def test_another_host_gets_nothing_over_http(path: str) -> None:
    async with running(ScriptedGenerator()) as server, httpx.AsyncClient(base_url=server.base) as http:
        evil = {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}
        refused = await http.get(path, headers=evil)
        assert refused.status_code == 421
        error = refused.json()["error"]
        assert error["code"] == "host_not_allowed"
        assert "--allowed-hosts evil.example" in error["message"]
        assert refused.headers["x-content-type-options"] == "nosniff"
        for own in ("LOCALHOST:1", "192.168.1.7:8000", "[::1]:8000", "10.1.2.3"):
            assert (await http.get("/ready", headers={"Host": own})).status_code == 200


@pytest.mark.parametrize("path", ["/ws", "/v1/realtime"])
async def test_another_host_opens_no_web_socket(path: str) -> None:
    async with running(ScriptedGenerator(), allowed_hosts="talk.example.org") as server:
        port = int(server.base.rpartition(":")[2])

        def at(name: str) -> connect:
            return connect(f"ws://{name}:{port}{path}", host="127.0.0.1", port=port, origin=f"http://{name}:{port}")

        with pytest.raises(InvalidStatus) as refused:
            async with at("evil.example"):
                pass
        assert refused.value.response.status_code == 421
        assert json.loads(refused.value.response.body)["error"]["code"] == "host_not_allowed"
        for name in ("talk.example.org", "localhost", "192.168.1.7"):
            async with at(name):
                pass
        assert b'omni_sessions_refused_total{reason="host_not_allowed"} 1.0' in server.service.metrics.render()


async def test_a_key_makes_the_name_unimportant() -> None:
    async with running(ScriptedGenerator(), api_keys="k") as server, httpx.AsyncClient(base_url=server.base) as http:
        headers = {"Host": "mini-omni.default.svc", "Authorization": "Bearer k"}
        assert (await http.get("/v1/models", headers=headers)).status_code == 200


async def test_a_request_of_http_1_0_without_a_host() -> None:
    async with running(ScriptedGenerator()) as server:
        host, port = server.base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /ready HTTP/1.0\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
