"""Planted secrets stay in the source and in the quarantine: in no other file, output or command line."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from realm import Realm
from tiny_commands import run_command

DOUBTFUL = ("blueberry" + "mountain", "raspberry" + "valley", "cloudberry" + "harbour", "sunny" + "orchard")
"""Passwords that only a person can tell from words."""
_KEY_LINE = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ" + "AAAAAAAAABAAABlwAAAAdzc2gt"
SURE = {
    "github": "ghp" + "_" + "vT3kQz8WmN1xLr5YbC7dHs2JfG9aPe4KuXo6",
    "aws": "AKIA" + "Q3EGRT7LXWZKU5PM",
    "stripe": "sk" + "_live_" + "4eC39HqLyjWDarjtT1zdp7dcQm8x",
    "slack": "xoxb" + "-" + "284719503618-2839471650284-" + "Kd8sLq2Zx7WcVb5NmP3yRtGh",
    "google": "AIza" + "SyD3kX9vQ2mL7pR4tW8nB1cF6hJ0gYsZaEu",
    "database": "Xk29vLqTz" + "81mWnRb",
    "told": "Zq8#" + "wLm3vTx",
    "accented": "Grüße/7" + "kLpÄq2vXz9",
    "header": "Rt5yHn8Kc" + "2Wq7Zb4Lm",
    "pair": "c4J9mQx2" + "TvL7nRk5Wd8yHb3Zg6PfSa1EuXo0Nq4M",
    "key": _KEY_LINE,
    "mail": "ann.vreeland" + "@" + "larkspur-works.de",
    "phone": "+49 30 " + "90182756",
    "home": "vreelandann",
}


def said() -> list[str]:
    """Return sentences with every planted secret, in the places where people leave them."""
    header = base64.b64encode(f"ann:{SURE['header']}".encode()).decode()
    return [
        f"export GITHUB_TOKEN={SURE['github']} and go",
        f"aws_access_key_id = {SURE['aws']}\naws_secret_access_key = {SURE['pair']}",
        f"curl -u {SURE['stripe']}: https://api.stripe.com/v1/charges",
        f"the bot's token is {SURE['slack']}, and the map's key {SURE['google']}",
        f"postgres://ann:{SURE['database']}@db.larkspur-works.de:5432/main",
        f"the password is {SURE['told']}",
        f'password: "{SURE["accented"]}"',
        f"Authorization: Basic {header}",
        f"token in base64: {base64.b64encode(SURE['github'].encode()).decode()}",
        f"-----BEGIN OPENSSH PRIVATE {'KEY'}-----\n{SURE['key']}\n-----END OPENSSH PRIVATE {'KEY'}-----",
        f"write to {SURE['mail']} or call {SURE['phone']}",
        f"it lies in /home/{SURE['home']}/work/notes.txt",
    ]


def forms(secret: str) -> Iterator[bytes]:
    """Yield how a secret may lie in a file: plain, in JSON, in hex, in Base64 anywhere in a longer text."""
    data = secret.encode()
    yield data
    yield json.dumps(secret)[1:-1].encode()
    yield json.dumps(secret, ensure_ascii=False)[1:-1].replace("/", "\\/").encode()
    yield data.hex().encode()
    yield data.hex().upper().encode()
    yield secret.encode("utf-16-le")
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + data)
        inner = coded[4 if before else 0 : len(coded) // 4 * 4 - 4]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


PLANTED = {form: name for name, secret in SURE.items() for form in forms(secret) if len(form) >= 8} | {
    form: name for name in DOUBTFUL for form in forms(name)
}


def found_in(data: bytes) -> set[str]:
    """Return which planted secrets are in some bytes."""
    return {name for form, name in PLANTED.items() if form in data}


def chat(what: str, number: int, **more: object) -> str:
    messages = [
        {"role": "user", "content": f"What of entry {number}, and why {number * 7}?"},
        {"role": "assistant", "content": f"Of entry {number}: {what}."},
    ]
    return json.dumps({"messages": messages, **more})


def plant(folder: Path) -> Path:
    """Write sources full of secrets; among them files that are refused."""
    folder.mkdir()
    rows = [chat(what, n) for n, what in enumerate(said())]
    rows += [
        chat(f'it says password = "{word}"', 100 + n, tags={"word": f"{n}"})
        for n, word in enumerate(DOUBTFUL)
    ]
    rows += [chat(f"all is well with {n}", 200 + n) for n in range(30)]
    rows += [f'{{"messages": "{SURE["github"]}"', chat("x", 1, **{SURE["github"]: "a key"})]
    (folder / "chats.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "shapeless.jsonl").write_text(
        "".join(json.dumps({"kind": what, "password": SURE["told"]}) + "\n" for what in said())
    )
    (folder / "broken.jsonl").write_text(
        json.dumps({"messages": [{"role": "user", "content": said()}, SURE["told"]]}) + "\n"
    )
    tree = folder / "tree"
    tree.mkdir()
    (tree / "conf.py").write_text("".join(f"# {line}\n" for what in said() for line in what.splitlines()))
    (tree / f"{SURE['stripe']}.py").write_text("def sub(first: int, second: int) -> int:\n    return first\n")
    (tree / f"{SURE['slack']}.bin").write_bytes(b"\0\1")  # left out, and told with its place
    (tree / "use.py").write_text(
        f'"""Use it."""\n\n\ndef login(user: str) -> str:\n    """Log a user in."""\n'
        f'    password = "{DOUBTFUL[3]}"\n    return user + password\n\n\n'
        "def add(first: int, second: int) -> int:\n"
        '    """Add two numbers and return their sum."""\n    total = first + second\n    return total\n'
    )
    (tree / "notes.md").write_text("# Notes\n\n" + "\n\n".join(said()) + "\n")
    author = ("-c", "user.name=Ann", "-c", f"user.email={SURE['mail']}")
    for words in (("init", "-q"), ("add", "."), (*author, "commit", "-q", "-m", f"use {SURE['github']}")):
        subprocess.run(["git", "-C", str(tree), *words], check=True, capture_output=True)
    return folder


class Commands:
    """Run the command line in children; keep what they print and how they and their children were called."""

    def __init__(self, folder: Path, home: Path, patch: pytest.MonkeyPatch) -> None:
        self.printed: dict[str, bytes] = {}
        self.called: set[bytes] = set()
        self._home = home
        for name in ("user", "tmp"):
            (folder / name).mkdir()
        patch.setenv("HOME", str(folder / "user"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "user" / "cache"))
        patch.setenv("TMPDIR", str(folder / "tmp"))

    def run(self, *words: str, code: int = 0) -> bytes:
        self.called.add(os.fsencode("\0".join(words)))
        with self._watched():
            done = run_command("--home", str(self._home), *words)
        self.printed[f"{len(self.printed)}: {' '.join(words)}"] = (done.stdout + done.stderr).encode()
        assert done.returncode == code, done.stderr
        return done.stdout.encode()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        ended = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(ended,))
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _watch(self, ended: threading.Event) -> None:
        while not ended.wait(0.02):
            for pid in _family(os.getpid()):
                try:
                    self.called.add(Path(f"/proc/{pid}/cmdline").read_bytes())
                except OSError:
                    continue


def _family(pid: int) -> Iterator[int]:
    yield pid
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = file.read_text().split()
        except OSError:
            continue
        for each in children:
            yield from _family(int(each))


def is_quarantine(path: Path, home: Path) -> bool:
    """Tell whether a file lies where unscrubbed text may be; the samples beside it are scrubbed."""
    within = path.relative_to(home).parts if path.is_relative_to(home) else ()
    return within[:2] == ("vault", "quarantine") and within[2:3] != ("audit",)


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    home = tmp_path / "all" / "lab"
    Realm.create(home, template="dio").close()
    with (home / "realm.yaml").open("a") as config:
        config.write("\ncorpus: {scrub: {audit: 1}}\n")
    return home


def test_no_planted_secret_leaves_the_quarantine(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted, everything = plant(tmp_path / "planted"), tmp_path / "all"
    realm = Commands(everything, lab, monkeypatch)
    chats, tree, broken = planted / "chats.jsonl", planted / "tree", planted / "broken.jsonl"
    for source in (chats, tree):
        assert found_in(
            b"".join(path.read_bytes() for path in [*source.rglob("*"), source] if path.is_file())
        )

    realm.run("data", "add", str(chats), str(tree), str(planted / "shapeless.jsonl"), "--json")
    realm.run("data", "build", "shapeless", "--debug", code=1)
    realm.run("data", "check", str(broken), code=1)
    realm.run("queue", "add", str(broken), code=1)
    realm.run("data", "scrub", str(chats), "--out", str(everything / "out.jsonl"), "--json")
    waiting = json.loads(realm.run("data", "review", "--json"))
    assert len(waiting) >= len(DOUBTFUL)
    answers = [f"--decide={row['row']}={('secret', 'drop')[n % 2]}" for n, row in enumerate(waiting)]
    reviewed = json.loads(realm.run("data", "review", *answers, "--json"))
    assert reviewed["released"]
    built = json.loads(realm.run("data", "build", "--name", "mine", "--json", "--sample", "50"))
    dataset = built["datasets"][0]["hash"]
    assert b"SECRET" in realm.run("data", "review", "--sample")
    realm.run("data", "stats", dataset)
    realm.run("data", "lineage", f"{dataset}#0")

    assert not {words: found for words, output in realm.printed.items() if (found := found_in(output))}
    assert realm.called
    assert not [argv for argv in realm.called if found_in(argv)]
    files = [path for path in everything.rglob("*") if path.is_file()]
    assert {"ledger.db", "out.jsonl"} <= {path.name for path in files}
    assert not [path for path in files if found_in(os.fsencode(path.relative_to(everything)))]
    held = {path for path in files if is_quarantine(path, lab)}
    assert held
    assert not [path for path in held if path.stat().st_mode & 0o077]
    assert not {path: found for path in {*files} - held if (found := found_in(path.read_bytes()))}


def test_the_search_finds_every_form() -> None:
    for name, secret in SURE.items():
        data = secret.encode()
        around = b"--" + data
        for form in (
            data,
            json.dumps({"a": secret}).encode(),
            data.hex().encode(),
            base64.b64encode(around),
            base64.urlsafe_b64encode(b"-" + around),
            base64.b64encode(b"user:" + around),
        ):
            assert found_in(form) >= {name}, (name, form)
