"""What every server of ours stands behind: a token, exact hosts and origins, limits; and how it runs.

The guard is the outermost layer: it answers for every method and path, also for those that there are not.

| refused | status |
|---|---|
| a Host header that is none, several, or not on the list | 421 |
| an Origin, or a Sec-Fetch-Site, of another page | 403 |
| no token, a wrong one, or several | 401 |
| a body that is too large | 413 |
| a request that takes too long | 504 |

Not covered: a client that opens connections and says nothing (the number of connections is bounded), and
what work in another thread goes on to do after its request was given up.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import secrets
import socket
import stat
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.core.errors import MissingExtraError, StorageError, UnsafeFileError, UsageError

if TYPE_CHECKING:
    from starlette.applications import Starlette

_TOKEN_BYTES = 32
_CONNECTIONS = 64
_KEEP_ALIVE_S = 5

Scope = MutableMapping[str, Any]
Received = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Received]]
Send = Callable[[Received], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_SAFE_HEADERS = (
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a request may hold and how long it may take."""

    body_bytes: int = 1 << 20
    request_s: float = 60.0


class Guard:
    """Let through only requests with the token, addressed to one of our hosts, within bounds."""

    def __init__(self, app: App, token: str, hosts: frozenset[str], bounds: Bounds) -> None:
        if len(token) < _TOKEN_BYTES:
            raise UsageError("a server needs a token of 32 characters or more")
        self._app, self._bounds = app, bounds
        self._expected = f"Bearer {token}".encode()
        self._hosts = frozenset(host.lower().encode() for host in hosts)
        self._origins = frozenset(b"%s://%s" % (s, host) for s in (b"http", b"https") for host in self._hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on one request; nothing but HTTP is spoken."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        await self._bounded(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value.lower() for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return 421, "this server has another name"
        origins = [value.lower() for name, value in headers if name == b"origin"]
        sites = [value.lower() for name, value in headers if name == b"sec-fetch-site"]
        if not self._origins.issuperset(origins) or not {b"same-origin", b"none"}.issuperset(sites):
            return 403, "requests of other pages are not taken"
        tokens = [value for name, value in headers if name == b"authorization"]
        if len(tokens) != 1 or not hmac.compare_digest(tokens[0], self._expected):
            return 401, "the token is missing or wrong: Authorization: Bearer TOKEN"
        return None

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, taken, refused = False, 0, False

        async def counted() -> Received:
            nonlocal taken, refused
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._bounds.body_bytes:
                refused = True
                raise _TooLargeError
            return message

        async def told(message: Received) -> None:
            nonlocal begun
            if refused:
                # What the application says of the error that it was given.
                return
            if message["type"] == "http.response.start":
                begun = True
                message["headers"] = [*message.get("headers", ()), *_SAFE_HEADERS]
            await send(message)

        try:
            async with asyncio.timeout(self._bounds.request_s):
                await self._app(scope, counted, told)
        except _TooLargeError:
            if not begun:
                await _refuse(send, 413, f"a body has up to {self._bounds.body_bytes:,} bytes")
        except TimeoutError:
            if not begun:
                await _refuse(send, 504, f"it took longer than {self._bounds.request_s:g} s")


class _TooLargeError(Exception):
    """The body went on beyond its bound."""


async def _refuse(send: Send, status: int, why: str) -> None:
    body = f"{why}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_SAFE_HEADERS]
    headers.append((b"content-length", str(len(body)).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status >= 413:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def token_at(path: Path) -> tuple[str, bool]:
    """Return the token kept in a file, and whether it was made now; the file's mode is 0600.

    Raises UnsafeFileError for a file that others may read, or that holds no token, and StorageError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            return _kept_token(path), False
        with os.fdopen(handle, "w", encoding="ascii") as file:
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            file.write(token + "\n")
        return token, True
    except OSError as error:
        raise StorageError(f"{path}: no token can be kept there ({error.strerror})") from None


def _kept_token(path: Path) -> str:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(handle, "rb") as file:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077 or state.st_uid != os.getuid():
            raise UnsafeFileError(
                f"{path}: others may read this token", hint=f"remove it, or chmod 600 {path}"
            )
        token = file.read(1000).strip()
    if len(token) < _TOKEN_BYTES or not all(33 <= byte < 127 for byte in token):
        raise UnsafeFileError(f"{path}: no token is in it", hint="remove it; a new one is made")
    return token.decode("ascii")


def require_serve_extra() -> None:
    """Raise MissingExtraError unless what a server needs is installed."""
    from importlib.util import find_spec

    absent = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if absent:
        raise MissingExtraError(
            f"this needs {', '.join(absent)}", hint="install the extra: pip install 'realm-lab[serve]'"
        )


def bind(host: str, port: int, *, behind_proxy: bool) -> socket.socket:
    """Return a bound socket. Raises UsageError for an address that others can reach, StorageError."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        raise UsageError(f"{host} is no address to bind to", hint="such as 127.0.0.1 or ::1") from None
    if not address.is_loopback and not behind_proxy:
        raise UsageError(
            f"{host} can be reached from other machines, and this server speaks no TLS",
            hint="stay on 127.0.0.1; or put a proxy with TLS before it and say --behind-proxy",
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        return socket.create_server((str(address), port), family=family)
    except OSError as error:
        raise StorageError(f"{host}:{port}: cannot be bound ({error.strerror})") from None


def hosts_of(bound: socket.socket, more: tuple[str, ...] = ()) -> frozenset[str]:
    """Return the Host headers that name a bound socket on this machine, and those given."""
    port = bound.getsockname()[1]
    return frozenset({*(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")), *more})


def run(app: Starlette, bound: socket.socket, guard: Callable[[App], Guard]) -> None:
    """Serve on a bound socket until the process is told to stop."""
    import uvicorn

    config = uvicorn.Config(
        guard(app),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        http="h11",
        loop="asyncio",
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )
    uvicorn.Server(config).run(sockets=[bound])
