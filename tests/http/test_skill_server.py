"""A skill served by a real process, asked by our client and by hostile ones; and servers of others."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from realm import Realm
from realm.core.errors import (
    ConfigError,
    NotFoundError,
    RealmError,
    RefusedError,
    UnavailableError,
    UnsafeFileError,
    UsageError,
)
from realm.flows.curriculum import set_level
from realm.flows.drills import next_drills
from realm.flows.play import levels_gained
from realm.flows.promotion import mastered_suites
from realm.flows.report import report
from realm.flows.samples import OfferedSkill, skill_of
from realm.flows.skills import skill_state, store_skill_state
from realm.http.server import Bounds, Guard, bind, token_at
from realm.http.skill_api import SkillClient, item_of
from realm.http.skill_server import skill_app
from realm.skills.own.keys import key_of, side_of
from realm.skills.skill import SKILLS, Skill
from tiny_lab import REALM

pytest.importorskip("uvicorn", reason="the serve extra is not installed")

TOKEN_VARIABLE = "TINY_SKILL_TOKEN"


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """Serve a skill in a process of its own: its URL, its token, the process."""
    kept = folder / "token"
    command = [*REALM, "--json", "skill", "serve", *words, "--port", "0", "--token-file", str(kept)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline() for _ in range(5)]
            yield json.loads("".join(lines))["url"], kept.read_text().strip(), process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    with serving(tmp_path_factory.mktemp("served"), "bin") as (url, token, _):
        os.environ[TOKEN_VARIABLE] = token
        yield url, token
        del os.environ[TOKEN_VARIABLE]


def ask(
    url: str, method: str, path: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=20)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        reply = connection.getresponse()
        return reply.status, dict(reply.headers), reply.read()
    finally:
        connection.close()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def routes() -> list[tuple[str, str]]:
    """Return every method and path of the application, and some that there are not."""
    app = skill_app(OfferedSkill(skill_of("bin")))
    known = [
        (method, route.path.replace("{level}", "3"))  # type: ignore[attr-defined]
        for route in app.routes
        for method in sorted(route.methods)  # type: ignore[attr-defined]
    ]
    return [*known, ("GET", "/"), ("DELETE", "/health"), ("OPTIONS", "/generate"), ("GET", "/../etc/passwd")]


def test_every_route_refuses_without_token_and_from_elsewhere(server: tuple[str, str]) -> None:
    url, token = server
    good = bearer(token)
    refused = [
        ({}, 401),
        (bearer(token[:-1]), 401),
        ({"Authorization": f"Basic {token}"}, 401),
        ({"Authorization": token}, 401),
        ({**good, "Host": "evil.example"}, 421),
        ({**good, "Host": "127.0.0.1"}, 421),
        ({**good, "Host": "localhost.evil.example:80"}, 421),
        ({**good, "Origin": "https://evil.example"}, 403),
        ({**good, "Origin": "null"}, 403),
        ({**good, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**good, "Sec-Fetch-Site": "same-site"}, 403),
    ]
    found = routes()
    assert {path for _, path in found} >= {"/health", "/info", "/levels", "/generate", "/eval", "/eval/3"}
    for method, path in found:
        for headers, status in refused:
            got = ask(url, method, path, headers)
            assert got[0] == status, (method, path, headers)
            assert "bin" not in got[2].decode()
            assert got[1]["content-security-policy"].startswith("default-src 'none'")
    for headers in (good, {**good, "Origin": url}, {**good, "Sec-Fetch-Site": "none"}):
        status, sent, body = ask(url, "GET", "/health", headers)
        assert (status, json.loads(body)) == (200, {"status": "ok"})
        assert not [name for name in sent if name.lower().startswith("access-control")]


def test_two_tokens_or_hosts_are_none(server: tuple[str, str]) -> None:
    url, token = server
    where = urlsplit(url)
    for twice in (
        f"Host: {where.netloc}\r\nHost: evil.example",
        f"Host: {where.netloc}\r\nAuthorization: Bearer x",
    ):
        with socket.create_connection((str(where.hostname), where.port), timeout=20) as raw:
            raw.sendall(f"GET /info HTTP/1.1\r\n{twice}\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            assert raw.recv(100).split(b" ")[1] in (b"400", b"401", b"421")


def test_a_client_without_the_token_is_told_where_it_belongs(server: tuple[str, str]) -> None:
    with pytest.raises(RefusedError, match="wants a token") as caught:
        SkillClient(server[0], None).info()
    assert "token_variable" in str(caught.value.hint)


def test_bad_requests_are_told_and_bounded(server: tuple[str, str]) -> None:
    url, token = server
    for body, status in (
        (b"", 400),
        (b"[" * 10_000, 400),
        (b'{"level": 3, "count": 10001}', 400),
        (b'{"level": 3, "count": 0}', 400),
        (b'{"level": 3, "sed": 1}', 400),
        (b'{"level": 99}', 404),
        (b'{"level": 3, "seed": ' + b"9" * 2_000_000 + b"}", 413),
    ):
        got = ask(url, "POST", "/generate", bearer(token), body)
        assert got[0] == status, (body[:40], got)
    for path, status in (
        ("/eval", 400),
        ("/eval/x", 400),
        ("/eval/99", 404),
        ("/eval?level=-1", 400),
        ("/x", 404),
    ):
        assert ask(url, "GET", path, bearer(token))[0] == status, path


def test_the_client_understands_our_server(server: tuple[str, str]) -> None:
    client, own = SkillClient(server[0], TOKEN_VARIABLE), skill_of("bin")
    client.health()
    info, levels = client.info(), client.levels()
    assert (info.skill, info.min_level, info.max_level) == ("bin", 1, len(own.levels()))
    assert [level.level for level in levels] == [level.level for level in own.levels()]
    got = client.generate(3, 40, 7)
    assert got == client.generate(3, 40, 7)
    assert got != client.generate(3, 40, 8)
    assert (len(got.items), got.unreadable) == (40, 0)
    evaluation = client.evaluation(3)
    assert len(evaluation.items) == levels[2].eval_samples > 100
    for items, side in ((got, "train"), (evaluation, "heldout")):
        for item in items.items:
            problem = own.recall(item.turns[-1].content)
            assert problem is not None
            assert (own.split_of(problem.key), problem.expected) == (side, item.answer)
    assert client.evaluation(1).items == ()


def test_the_http_kind_drills_and_asks_what_a_server_has(server: tuple[str, str]) -> None:
    skill = SKILLS.build({"kind": "http", "url": server[0], "token_variable": TOKEN_VARIABLE, "name": "far"})
    info = skill.level(6)
    assert info.testable
    drawn = list(skill.drills(6, 600, weights={}, seed=5))
    asked = skill.heldout(6, 40)
    assert len({p.primitive for p in asked}) == len(info.testable_primitives()) > 5
    assert {p.key for p in drawn}.isdisjoint({p.key for p in asked})
    assert {skill.split_of(p.key) for p in drawn} == {"train"}
    assert drawn[:30] == list(skill.drills(6, 30, weights={}, seed=5))
    assert drawn[:30] != list(skill.drills(6, 30, weights={}, seed=6))
    assert len({p.key for p in drawn}) > 400
    assert all(skill.grade(p, p.expected) == 1.0 and skill.grade(p, p.expected + "①") == 0.0 for p in asked)


def test_a_server_ends_politely_and_keeps_its_token(tmp_path: Path) -> None:
    with serving(tmp_path, "bin") as (_, first, process):
        pass
    assert process.returncode in (0, -signal.SIGTERM, 143)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert token_at(tmp_path / "token") == (first, False)


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    token, made = token_at(tmp_path / "sub" / "token")
    assert (made, len(token) >= 43) == (True, True)
    (tmp_path / "sub" / "token").chmod(0o640)
    with pytest.raises(UnsafeFileError, match="others may read"):
        token_at(tmp_path / "sub" / "token")
    (tmp_path / "short").write_text("abc\n")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(UnsafeFileError, match="no token is in it"):
        token_at(tmp_path / "short")
    (tmp_path / "link").symlink_to(tmp_path / "sub" / "token")
    with pytest.raises(RealmError):
        token_at(tmp_path / "link")
    with pytest.raises(UsageError):
        Guard(_nothing, "short", frozenset(), Bounds())


async def _nothing(*_: Any) -> None:
    return


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org"])
def test_other_addresses_are_not_bound(host: str) -> None:
    with pytest.raises(UsageError, match=r"other machines|no address"):
        bind(host, 0, behind_proxy=False)


def test_work_that_takes_too_long_is_given_up() -> None:
    import asyncio

    async def slow(*_: Any) -> None:
        await asyncio.sleep(30)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(slow, "t" * 40, frozenset({"h"}), Bounds(request_s=0.01))
    headers = [(b"host", b"h"), (b"authorization", b"Bearer " + b"t" * 40)]
    asyncio.run(guard({"type": "http", "headers": headers}, _nothing, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 504


# --- servers of others ---------------------------------------------------------------------

Answer = Callable[[str, dict[str, Any]], Any]


@contextmanager
def other_server(answer: Answer) -> Iterator[str]:
    """Run a plain server: `answer(path, query or body)` gives a document, a status, or raw bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            self._say(answer(urlsplit(self.path).path, query))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._say(answer(urlsplit(self.path).path, body))

        def _say(self, said: Any) -> None:
            status = said if isinstance(said, int) else 200
            body = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def numbers(path: str, asked: dict[str, Any]) -> Any:
    """Serve squares, the same ones for training and for evaluation."""
    if path == "/levels":
        return {"levels": [{"level": 1, "name": "one", "eval_samples": 300, "pass_threshold": 0.8}]}
    if path == "/generate":
        count = min(asked["count"], 500)
        return {
            "puzzles": [
                {"user_prompt": f"Square of {n}?", "assistant_response": str(n * n)} for n in range(count)
            ]
        }
    if path == "/eval" and asked["level"] == "1":
        return {
            "problems": [
                *({"prompt": f"square  of {n}?", "expected": n * n} for n in range(0, 600, 2)),
                {"odd": 1},
            ]
        }
    return 404


def apart(path: str, asked: dict[str, Any]) -> Any:
    """Serve three levels with a gap after each."""
    if path == "/levels":
        return {"levels": [{"level": level} for level in (1, 3, 5)]}
    if path == "/generate" and asked["level"] in (1, 3, 5):
        count = min(asked["count"], 500)
        return {"samples": [{"prompt": f"{asked['level']} + {n}?", "answer": str(n)} for n in range(count)]}
    if path in ("/eval/1", "/eval/3", "/eval/5"):
        return {"problems": [{"prompt": f"{path[-1]} + {n}?", "answer": str(n)} for n in range(500, 600)]}
    return 404


def far(url: str, name: str) -> Skill:
    return SKILLS.build({"kind": "http", "url": url, "name": name})


def test_a_server_that_mixes_is_kept_apart_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    with other_server(numbers) as url:
        skill = far(url, "squares")
        (row,) = skill.level(1).primitives
        drawn = list(skill.drills(1, 3000, weights={}, seed=0))
        asked = skill.heldout(1, 1000)
        mixed = skill.mixed(1)  # type: ignore[attr-defined]
    trained, tested = {p.expected for p in drawn}, {p.expected for p in asked}
    assert trained.isdisjoint(tested)
    assert (len(asked), row.heldout, mixed.heldout) == (row.heldout,) * 3
    evens = {str(n * n) for n in range(0, 600, 2)}
    assert trained <= {str(n * n) for n in range(1, 500, 2)}
    assert len(trained) > 60
    assert mixed.mixed == 250
    assert mixed.misplaced + len(tested & evens) == 300
    assert {side_of(key_of("squares", f"SQUARE of {int(int(n) ** 0.5)}?"), 0.3) for n in tested} == {
        "heldout"
    }
    assert "250 problems given for evaluation and for training" in caplog.text
    assert "items of an unknown shape" in caplog.text


def test_items_of_all_shapes_are_read() -> None:
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    shapes: list[dict[str, Any]] = [
        {"messages": [*turns, {"role": "assistant", "content": "a"}]},
        {"messages": turns, "expected": "a"},
        {"user_prompt": "q", "assistant_response": "a"},
        {"prompt": "q", "response": "a", "primitive": "p", "more": 1},
        {"prompt": "q", "solution": "a"},
        {"prompt": "q", "expected": "a"},
    ]
    found = [item_of(shape) for shape in shapes]
    assert [(i.turns[-1].content, i.answer) for i in found if i] == [("q", "a")] * 6
    listed = item_of({"prompt": "q", "solution": ["A", "B"]})
    assert listed is not None
    assert listed.answer == '["A", "B"]'
    broken: list[Any] = [
        *(None, 3, [], {}, {"prompt": "q"}, {"prompt": "", "answer": "a"}, {"prompt": "q", "answer": " "}),
        *({"prompt": 3, "answer": "a"}, {"messages": [], "answer": "a"}, {"messages": [3], "answer": "a"}),
        *({"prompt": "q" * 30_000, "answer": "a"}, {"prompt": "q", "answer": "a" * 30_000}),
        *({"prompt": "\ud800", "answer": "a"}, {"prompt": "q", "answer": "\udfff"}),
        {"messages": [{"role": "tool", "content": "q"}], "answer": "a"},
    ]
    assert [item_of(each) for each in broken] == [None] * len(broken)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"{", "no JSON object"),
        (b"[]", "no JSON object"),
        (b"[" * 100_000, "no JSON object"),
        ({"levels": []}, "names no level"),
        ({"levels": [{"level": 1}, {"level": 1}]}, "names no level, or one twice"),
        ({"levels": [{"level": -1}]}, "levels.0.level"),
        ({"levels": [{"level": 1}, {"level": 0}]}, r"levels.1.level: must be at least 1, not 0"),
        ({"levels": [{"level": n} for n in range(1, 202)]}, "at most 200"),
        (b'{"levels": [{"level": 1, "name": "\\ud800"}]}', "invalid Unicode"),
        (302, "status 302"),
        (500, "gave no answer: status 500"),
    ],
)
def test_a_bad_answer_is_refused_clearly(said: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realm.http.client.time.sleep", lambda _: None)
    with (
        other_server(lambda path, asked: said) as url,
        pytest.raises((RefusedError, UnavailableError), match=told),
    ):
        SkillClient(url, None).levels()


def test_a_hero_drills_a_server_whose_levels_have_gaps(tmp_path: Path) -> None:
    with Realm.create(tmp_path / "lab", template="dio") as realm:
        config, text = realm.home.config, realm.home.config.read_text()
    line = next(line for line in text.splitlines() if line.strip().startswith("bin:"))
    with other_server(apart) as url:
        config.write_text(text.replace(line.strip(), f'far: {{kind: http, url: "{url}", name: far}}'))
        with Realm(tmp_path / "lab") as opened:
            lab = opened.lab
            assert list(next_drills(lab)[0].rows) == [1, 3, 5]
            state = skill_state(lab, "far").model_copy(update={"mastered_level": 3, "training_level": 5})
            store_skill_state(lab, "far", state, None)
            assert list(next_drills(lab)[0].rows) == [1, 3, 5]
            assert [suite.level for suite in mastered_suites(lab)] == [1, 3]
            assert {len(suite.problems) for suite in mastered_suites(lab)} == {100}
            assert levels_gained(lab) == 2
            assert opened.status().skills[0].training_level == 5
            assert opened.curriculum().skills[0].mastered_level == 3
            with pytest.raises(NotFoundError, match="no evaluation of far"):
                report(lab)
            assert set_level(lab, "far", 3, "too soon").mastered_level == 1


def test_items_that_nobody_can_read_are_refused() -> None:
    with other_server(lambda path, asked: {"samples": [{"odd": 1}]}) as url:
        with pytest.raises(RefusedError, match="items of an unknown shape"):
            SkillClient(url, None).generate(1, 5, 0)
        with pytest.raises(RefusedError, match="without a list"):
            SkillClient(url, None).evaluation(1)


def test_a_server_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realm.http.client.time.sleep", lambda _: None)
    with pytest.raises(UnavailableError, match="is it running"):
        far("http://127.0.0.1:1", "gone").levels()


def test_grading_needs_no_server() -> None:
    skill = far("http://127.0.0.1:1", "gone")
    assert (skill.name, skill.version) == ("gone", "1")


def test_other_machines_are_asked_only_when_allowed() -> None:
    for url in ("https://example.org", "http://example.org", "http://10.0.0.1", "file:///etc/passwd"):
        with pytest.raises(ConfigError):
            SKILLS.build({"kind": "http", "url": url})
    named = {"kind": "http", "url": "https://example.org/skill", "allow_host": "example.org"}
    assert SKILLS.build(named).name == "example.org"


def test_answers_are_kept_by_level_seed_and_count() -> None:
    asked: list[tuple[str, str]] = []

    def counted(path: str, body: dict[str, Any]) -> Any:
        asked.append((path, json.dumps(body)))
        return numbers(path, body)

    with other_server(counted) as url:
        for _ in range(2):
            list(far(url, "kept").drills(1, 50, weights={}, seed=1))
        assert len([path for path, _ in asked if path == "/generate"]) == 2
        # Each skill that is built asks for the version, which this server does not have.
        asked.remove(("/info", "{}"))
        assert len(set(asked)) == len(asked)


def test_serving_without_the_extra_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'uvicorn' else find(name, *a)\n"
    )
    done = subprocess.run(
        [*REALM, "skill", "serve", "bin", "--token-file", str(tmp_path / "t")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=60,
        check=False,
    )
    assert (done.returncode, "realm-lab[serve]" in done.stderr) == (4, True)
    assert not (tmp_path / "t").exists()
