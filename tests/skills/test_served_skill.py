"""What a skill over HTTP asks of a server, counted on the way to real processes that serve."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from loopback import QuietHandler, running
from realm.core.errors import NotFoundError
from realm.flows.samples import grade_file, sample, skill_of
from realm.skills.catalogue.http import Http
from realm.skills.own.served_memory import Memory
from realm.skills.skill import SKILLS
from tiny_lab import REALM

VARIABLE = "COUNTED_SKILL_TOKEN"
SUMS = {"prompt": "{a} + {b}?", "answer": "{a + b}", "operands": {"a": {"low": 0, "high": 40}}}
FIRST, SECOND, THIRD = (("POST /generate", f"GET /eval/{level}") for level in (1, 2, 3))


class Relay(ThreadingHTTPServer):
    """Passes requests on to a server that may be another one each time, and notes them."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target = target
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def taken(self) -> list[str]:
        """Return what was asked since the last call, in alphabetical order."""
        asked, self.asked = self.asked, []
        return sorted(asked)


class _Passing(QuietHandler):
    server: Relay

    def do_GET(self) -> None:
        self._pass()

    def do_POST(self) -> None:
        self._pass()

    def _pass(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        where = urlsplit(self.server.target)
        onward = http.client.HTTPConnection(str(where.hostname), where.port, timeout=30)
        try:
            headers = {"Authorization": self.headers["Authorization"]}
            onward.request(self.command, self.path, body, headers)
            reply = onward.getresponse()
            said = reply.read()
        finally:
            onward.close()
        self.say(reply.status, said)


@contextmanager
def process(folder: Path, version: str, most: int) -> Iterator[str]:
    """Serve sums at three levels in a process of its own, as one version."""
    templates = [
        {**SUMS, "level": level, "operands": {**SUMS["operands"], "b": {"low": level * 100, "high": most}}}  # type: ignore[dict-item]
        for level in (1, 2, 3)
    ]
    path = folder / "sums.yaml"
    path.write_text(json.dumps({"id": "sums", "version": version, "templates": templates}))
    words = ("skill", "serve", str(path), "--port", "0", "--token-file", str(folder / "token"))
    with subprocess.Popen([*REALM, "--json", *words], stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout is not None
        try:
            yield json.loads("".join(served.stdout.readline() for _ in range(5)))["url"]
        finally:
            served.send_signal(signal.SIGTERM)
            served.wait(20)


def test_each_level_is_fetched_once_for_each_version_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with process(tmp_path, "1", most=400) as target, running(Relay(target)) as relay:
        monkeypatch.setenv(VARIABLE, (tmp_path / "token").read_text().strip())

        def build() -> Http:
            given = {"kind": "http", "url": relay.url, "name": "sums", "token_variable": VARIABLE}
            skill = SKILLS.build(given)
            assert isinstance(skill, Http)
            return skill

        skill = build()
        assert relay.taken() == []
        assert list(skill.level_numbers()) == [1, 2, 3]
        with pytest.raises(NotFoundError, match="no level 4"):
            skill.level(4)
        assert relay.taken() == ["GET /info", "GET /levels"]
        assert skill.level(2).testable_primitives()
        assert relay.taken() == sorted(SECOND)
        infos = skill.levels()
        assert relay.taken() == sorted([*FIRST, *THIRD])
        asked = skill.heldout(2, 50)
        assert (skill.levels(), skill.probe(2, 5, seed=1) != ()) == (infos, True)
        assert skill.recall(asked[0].messages[-1].content) is not None
        assert relay.taken() == []
        drilled = list(skill.drills(3, 40, weights={}, seed=1))
        assert relay.taken() == ["POST /generate"]
        again = build()
        assert (again.levels(), again.heldout(2, 50)) == (infos, asked)
        assert list(again.drills(3, 40, weights={}, seed=1)) == drilled
        assert relay.taken() == ["GET /info"]
        with process(tmp_path, "2", most=500) as relay.target:
            assert skill.heldout(2, 50) == asked
            assert relay.taken() == []
            other = build()
            assert other.heldout(2, 50) != asked
            assert relay.taken() == sorted(["GET /info", "GET /levels", *SECOND])


class _Spaced(QuietHandler):
    """Hands out problems of primitives whose names are no names of ours."""

    def do_GET(self) -> None:
        found = {"levels": [{"level": 1}], "version": "1", "problems": self._items(0)}
        self.say(200, json.dumps(found).encode())

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        asked = json.loads(self.rfile.read(length))
        self.say(200, json.dumps({"samples": self._items(asked["seed"] % 1000 * 1000)}).encode())

    def _items(self, first: int) -> list[dict[str, str]]:
        named = [(n, "two digits") for n in range(first, first + 200)]
        named += [(n, "a/b 2") for n in range(first + 200, first + 400)]
        return [{"prompt": f"{n}?", "answer": str(n), "primitive": name} for n, name in named]


def test_ids_of_primitives_with_any_name_lead_back(tmp_path: Path) -> None:
    with running(ThreadingHTTPServer(("127.0.0.1", 0), _Spaced)) as server:
        skill = skill_of(f"http://127.0.0.1:{server.server_address[1]}", ["name=far"])
        found = sample(skill, 1, 40, seed=0, split="eval")
        assert {each.id.split("/eval/0/")[1].rsplit("/", 1)[0] for each in found} == {"two digits", "a/b 2"}
        file = tmp_path / "a.jsonl"
        rows = ({"id": each.id, "answer": each.problem.expected} for each in found)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        report = grade_file(skill, file)
    assert (report.bad, report.overall.correct) == ((), 40)


def test_what_does_not_fit_is_forgotten_with_the_longest_unused_first() -> None:
    fetched: list[str] = []
    memory: Memory[str] = Memory(10, len)

    def take(key: str, value: str) -> str:
        def fetch() -> str:
            fetched.append(key)
            return value

        return memory.of(key, fetch)

    assert [take(key, value) for key, value in (("a", "1234"), ("b", "5678"), ("a", ""), ("c", "90ab"))] == [
        *("1234", "5678", "1234", "90ab")
    ]
    assert fetched == ["a", "b", "c"]
    assert [take(key, "----") for key in ("c", "a", "b")] == ["90ab", "1234", "----"]
    assert fetched == ["a", "b", "c", "b"]
    assert [take("d", "more than there is room for")] * 2 == ["more than there is room for"] * 2
    take("d", "more than there is room for")
    assert fetched == ["a", "b", "c", "b", "d", "d"]
    assert take("b", "") == "----"


def test_a_failed_fetch_is_tried_again() -> None:
    memory: Memory[int] = Memory(10, lambda _: 1)
    with pytest.raises(ZeroDivisionError):
        memory.of("a", lambda: 1 // 0)
    assert memory.of("a", lambda: 3) == 3
