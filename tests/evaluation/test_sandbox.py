"""Attacks on the sandbox, one for each of its promises, under both plans where the machine has both."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import psutil
import pytest

from realm.core.errors import RefusedError
from realm.evaluation.agents.sandbox import Isolation, Limits, Ran, Sandbox, detect

TIGHT = Limits(
    wall_s=3,
    cpu_s=2,
    processes=12,
    memory_bytes=128 << 20,
    file_bytes=1 << 20,
    disk_bytes=8 << 20,
    files=300,
    output_bytes=20_000,
)


def made(plan: str, limits: Limits = TIGHT) -> Sandbox:
    """Make a sandbox of a plan, or skip where the machine cannot."""
    found = detect()
    if plan == "spaces" and found.plan != "spaces":
        pytest.skip("LOUD: this kernel grants no namespaces; only the bare plan is attacked")
    if not has_python(plan):
        pytest.skip("LOUD: no Python here that a user without rights can run")
    return Sandbox(limits, found.model_copy(update={"plan": plan}))


@cache
def has_python(plan: str) -> bool:
    trial = Sandbox(TIGHT, detect().model_copy(update={"plan": plan}))
    try:
        return trial.run([trial.python, "-S", "-c", "1"]).exit == 0
    finally:
        trial.close()


@pytest.fixture(params=["spaces", "bare"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    attacked = made(request.param)
    yield attacked
    attacked.close()


@pytest.fixture
def spaces() -> Iterator[Sandbox]:
    attacked = made("spaces")
    yield attacked
    attacked.close()


def python(sandbox: Sandbox, code: str) -> Ran:
    return sandbox.run([sandbox.python, "-S", "-c", code])


def wait_for_file(sandbox: Sandbox, name: str) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with contextlib.suppress(RefusedError):
            sandbox.read(name)
            return
        time.sleep(0.01)
    raise AssertionError(f"{name} has not been written")


def alive(marker: str) -> bool:
    found = (process.info["cmdline"] or () for process in psutil.process_iter(["cmdline"]))
    return any(marker in word for words in found for word in words)


def test_a_command_runs_and_says_how_it_ended(sandbox: Sandbox) -> None:
    assert sandbox.run(["echo", "hello"]) == Ran(exit=0, ended="exit", output="hello\n")
    assert python(sandbox, "import sys; sys.exit(3)").exit == 3
    assert python(sandbox, "import os; os.kill(os.getpid(), 9)").exit == -9


def test_a_fork_bomb_stays_within_its_processes(sandbox: Sandbox) -> None:
    code = (
        "import os, time\nn = 0\ntry:\n while n < 500:\n  if not os.fork():\n   time.sleep(77777)\n  n += 1\n"
        "except BlockingIOError: print('stopped at', n)"
    )
    ran = python(sandbox, code)
    assert ran.ended == "exit"
    assert 0 < int(ran.output.split()[-1]) <= TIGHT.processes
    assert python(sandbox, "print('still here')").output == "still here\n"


def test_another_sandbox_takes_none_of_its_processes(sandbox: Sandbox) -> None:
    if os.getuid() != 0 and sandbox.isolation.plan == "bare":
        pytest.skip("LOUD: without root and namespaces the limit counts both")
    waiting = (
        "import os, time\nopen('begun', 'w').close()\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n"
        "for _ in range(6):\n if not os.fork(): time.sleep(77777)\n"
        "print('six more')"
    )
    filling = (
        "import os, time\nfor _ in range(7):\n if not os.fork(): time.sleep(77777)\n"
        "open('begun', 'w').close()\ntime.sleep(77777)"
    )
    other = Sandbox(TIGHT, sandbox.isolation)
    ran: list[Ran] = []
    threads = [
        threading.Thread(target=lambda: ran.append(python(sandbox, waiting))),
        threading.Thread(target=lambda: python(other, filling)),
    ]
    try:
        for thread, started in zip(threads, (sandbox, other), strict=True):
            thread.start()
            wait_for_file(started, "begun")
        sandbox.write("go", "")
        threads[0].join()
        assert [each.output for each in ran] == ["six more\n"]
    finally:
        for thread in threads:
            thread.join()
        other.close()


def test_a_memory_bomb_gets_no_memory(sandbox: Sandbox) -> None:
    assert "MemoryError" in python(sandbox, "x = bytearray(1 << 30)").output


def test_a_full_disk_is_somebody_elses(sandbox: Sandbox) -> None:
    ran = python(
        sandbox, "import itertools\nfor i in itertools.count(): open(f'f{i}', 'wb').write(b'x' * (1 << 20))"
    )
    assert ran.ended == "disk"
    assert sandbox.run(["true"]).ended == "disk", "what is there already counts"


def test_many_small_files_are_too_many(sandbox: Sandbox) -> None:
    assert python(sandbox, "for i in range(400): open(f'f{i}', 'w').close()").ended == "disk"


def test_files_in_closed_folders_count_and_are_removed(sandbox: Sandbox) -> None:
    code = (
        "import os\nos.mkdir('d')\nfor i in range(9): open(f'd/{i}', 'wb').write(b'x' * (1 << 20))\n"
        "os.chmod('d', 0)"
    )
    assert python(sandbox, code).ended == "disk"
    sandbox.close()
    assert not Path(sandbox._root).exists()


def test_one_file_cannot_grow_without_end(sandbox: Sandbox) -> None:
    ran = python(sandbox, "open('f', 'wb').write(b'x' * (3 << 20))")
    assert ran.exit != 0
    assert len(sandbox.run(["cat", "f"]).output) <= TIGHT.file_bytes


def test_deep_folders_are_removed(sandbox: Sandbox) -> None:
    python(sandbox, "import os\nfor _ in range(250):\n os.mkdir('d'); os.chdir('d')")
    sandbox.close()
    assert not Path(sandbox._root).exists()


def test_endless_output_is_cut(sandbox: Sandbox) -> None:
    ran = python(sandbox, "while True: print('x' * 1000)")
    assert ran.ended == "output"
    assert len(ran.output) == TIGHT.output_bytes


def test_sleeping_forever_ends(sandbox: Sandbox) -> None:
    quick = Sandbox(TIGHT.model_copy(update={"wall_s": 0.3}), sandbox.isolation)
    try:
        assert python(quick, "import time; time.sleep(1000)").ended == "time"
        ignoring = "import os, signal, time\nsignal.signal(15, signal.SIG_IGN)\nos.close(1); os.close(2)\n"
        assert python(quick, ignoring + "time.sleep(1000)").ended == "time"
    finally:
        quick.close()


def test_computing_forever_ends(spaces: Sandbox) -> None:
    busy = Sandbox(TIGHT.model_copy(update={"cpu_s": 1, "wall_s": 60}), spaces.isolation)
    try:
        assert python(busy, "while True: pass") == Ran(exit=-9, ended="exit", output="")
    finally:
        busy.close()


def test_what_is_left_behind_is_killed(sandbox: Sandbox) -> None:
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  os.setsid()\n"
        f"  os.execv({sandbox.python!r}, ['python', '-S', '-c', 'import time; time.sleep(54321)'])\n"
        " os._exit(0)\n"
        "time.sleep(0.2)"
    )
    assert python(sandbox, code).exit == 0
    assert not alive("time.sleep(54321)")


def test_the_parent_and_its_group_cannot_be_killed(sandbox: Sandbox) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        code = (
            "import os, signal\n"
            f"for pid in ({bystander.pid}, {os.getpid()}, os.getppid(), -{os.getpgrp()}, -1):\n"
            " try: os.kill(pid, signal.SIGTERM)\n"
            " except OSError: pass\n"
            "try: os.killpg(0, signal.SIGTERM)\n"
            "except OSError: pass\n"
        )
        python(sandbox, "import signal; signal.signal(15, signal.SIG_IGN)\n" + code)
        assert bystander.poll() is None
        assert python(sandbox, "print('still here')").output == "still here\n"
    finally:
        bystander.kill()
        bystander.wait()


def test_no_connection_can_be_made(sandbox: Sandbox) -> None:
    if sandbox.isolation.plan == "bare" and not sandbox.isolation.seccomp:
        pytest.skip("LOUD: neither namespaces nor a filter keep the network apart here")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        ran = python(sandbox, f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=1)")
        assert ran.exit != 0
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_datagram_leaves(sandbox: Sandbox) -> None:
    if sandbox.isolation.plan == "bare" and not sandbox.isolation.seccomp:
        pytest.skip("LOUD: neither namespaces nor a filter keep the network apart here")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.2)
        target = server.getsockname()
        python(
            sandbox,
            f"import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', {target!r})",
        )
        with pytest.raises(TimeoutError):
            server.recvfrom(10)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["stream", "datagram"])
def test_no_socket_of_a_service_is_in_reach(sandbox: Sandbox, kind: socket.SocketKind) -> None:
    if sandbox.isolation.plan == "bare" and not sandbox.isolation.seccomp:
        pytest.skip("LOUD: neither namespaces nor a filter keep services apart here")
    path = Path("/tmp") / f"realm-test-{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX, kind) as server:
        server.bind(str(path))
        server.settimeout(0.2)
        try:
            path.chmod(0o777)
            if kind == socket.SOCK_STREAM:
                server.listen()
            code = (
                "import socket\n"
                f"kind, path = {int(kind)}, {str(path)!r}\n"
                "try: socket.socket(socket.AF_UNIX, kind).connect(path)\n"
                "except OSError: print('closed')\n"
                "try: socket.socketpair(socket.AF_UNIX, kind)[0].sendto(b'x', path)\n"
                "except OSError: print('closed')\n"
            )
            assert python(sandbox, code).output == "closed\nclosed\n"
            with pytest.raises(TimeoutError):
                server.accept() if kind == socket.SOCK_STREAM else server.recvfrom(10)
        finally:
            path.unlink()


def test_files_outside_cannot_be_read_or_written(sandbox: Sandbox) -> None:
    if sandbox.isolation.plan == "bare" and not sandbox.isolation.landlock:
        pytest.skip("LOUD: neither namespaces nor Landlock keep files apart here")
    secret = Path("/tmp") / f"realm-test-secret-{os.getpid()}"
    secret.write_text("secret")
    secret.chmod(0o666)
    try:
        assert "secret" not in sandbox.run(["cat", str(secret)]).output.replace(secret.name, "")
        python(sandbox, f"open({str(secret)!r}, 'w').write('changed')")
        assert secret.read_text() == "secret"
        assert sandbox.run(["cat", "/etc/passwd"]).exit != 0
        assert python(sandbox, "open('/usr/x', 'w')").exit != 0
    finally:
        secret.unlink()


def test_no_secret_of_ours_is_in_the_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALM_TEST_TOKEN", "hidden-value")
    ran = python(sandbox, "import os; print(dict(os.environ))")
    assert "hidden-value" not in ran.output
    assert "PATH" in ran.output
    assert "hidden-value" not in python(sandbox, f"print(open('/proc/{os.getpid()}/environ').read())").output
    assert "hidden-value" not in python(sandbox, "print(open('/proc/self/environ').read())").output


def test_root_is_given_up(sandbox: Sandbox) -> None:
    ran = python(sandbox, "import os; print(os.getuid(), os.geteuid(), os.getgroups())")
    assert not ran.output.startswith("0 ")
    assert python(sandbox, "import os; os.setuid(0)").exit != 0


def test_the_sandbox_dies_with_its_starter(spaces: Sandbox, tmp_path: Path) -> None:
    code = (
        "import os, threading, time\n"
        "from realm.evaluation.agents.sandbox import Sandbox\n"
        "s = Sandbox()\n"
        "print(s._root, flush=True)\n"
        "threading.Timer(1.0, lambda: os.kill(os.getpid(), 9)).start()\n"
        "s.run([s.python, '-S', '-c', 'import time; time.sleep(43210)'])\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    root = Path(process.stdout.strip())
    try:
        deadline = time.monotonic() + 5
        while alive("43210") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.returncode == -9
        assert not alive("43210")
    finally:
        subprocess.run(["rm", "-rf", str(root)], check=True)


def test_what_a_killed_process_left_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    start = "import os\nfrom realm.evaluation.agents.sandbox import Sandbox, detect\n"
    code = start + "Sandbox().write('a', 'x')\nos.kill(os.getpid(), 9)\n"
    own = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=own, check=False)
    (left,) = tmp_path.iterdir()
    living = made("bare")
    link, theirs = tmp_path / f"{left.name}x", tmp_path / "theirs"
    theirs.mkdir()
    link.symlink_to(theirs)
    try:
        subprocess.run([sys.executable, "-c", f"{start}detect()\n"], env=own, check=True)
        assert set(tmp_path.iterdir()) == {living._root, link, theirs}
        assert (living._root / "town" / "work").is_dir()
    finally:
        living.close()
    assert not living._root.exists()


@pytest.mark.parametrize(
    "path", ["../origin.git/x", "/etc/passwd", "a/../../x", "", ".", "x\0y", "a/" * 40 + "x"]
)
def test_our_own_tools_stay_inside(sandbox: Sandbox, path: str) -> None:
    with pytest.raises(RefusedError):
        sandbox.read(path)
    with pytest.raises(RefusedError):
        sandbox.write(path, "x")


def test_our_own_tools_follow_no_link(sandbox: Sandbox, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    code = f"import os\nos.symlink({str(outside)!r}, 'link')\nos.symlink({str(tmp_path)!r}, 'folder')\n"
    python(sandbox, code)
    python(sandbox, "import os; open('own', 'w').write('x'); os.link('own', 'hard')")
    for path in ("link", "folder/outside", "folder/new", "hard"):
        with pytest.raises(RefusedError):
            sandbox.read(path)
        with pytest.raises(RefusedError):
            sandbox.write(path, "changed")
    assert outside.read_text() == "untouched"
    assert not (tmp_path / "new").exists()


def test_a_pipe_is_never_waited_on(sandbox: Sandbox) -> None:
    os.mkfifo(sandbox._root / "town" / "work" / "pipe")
    done: list[str] = []

    def read() -> None:
        with pytest.raises(RefusedError):
            sandbox.read("pipe")
        done.append("refused")

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(10)
    assert done == ["refused"]


def repository(sandbox: Sandbox) -> None:
    sandbox.write("a.txt", "a\n")
    done = sandbox.run_all([["git", "init", "-q"], ["git", "add", "-A"], ["git", "commit", "-qm", "First"]])
    assert all(ran.exit == 0 for ran in done), done


def test_git_runs_no_hooks(sandbox: Sandbox) -> None:
    repository(sandbox)
    hook = (
        "import os\nos.makedirs('.git/hooks', exist_ok=True)\np = '.git/hooks/pre-commit'\n"
        "open(p, 'w').write('#!/bin/sh\\ntouch hooked\\n')\nos.chmod(p, 0o755)"
    )
    python(sandbox, hook)
    assert sandbox.run(["git", "commit", "--allow-empty", "-qm", "Second"]).exit == 0
    assert "hooked" not in sandbox.run(["ls"]).output


def test_git_asks_no_fsmonitor_pager_or_editor(sandbox: Sandbox) -> None:
    repository(sandbox)
    for name in ("core.fsmonitor", "core.pager", "core.editor", "sequence.editor", "core.askPass"):
        sandbox.run(["git", "config", name, "touch configured"])
    sandbox.run_all([["git", "status"], ["git", "log"], ["git", "commit", "--amend"], ["git", "diff"]])
    assert "configured" not in sandbox.run(["ls"]).output


@pytest.mark.parametrize(
    "url", ["ext::touch escaped", "https://localhost:1/x", "ssh://localhost/x", "git://localhost/x"]
)
def test_git_speaks_no_protocol_but_files(sandbox: Sandbox, url: str) -> None:
    repository(sandbox)
    ran = sandbox.run(["git", "fetch", url])
    assert ran.exit != 0
    assert "not allowed" in ran.output
    assert "escaped" not in sandbox.run(["ls"]).output


def test_git_reads_no_configuration_of_the_machine(sandbox: Sandbox) -> None:
    repository(sandbox)
    told = sandbox.run(["git", "config", "--list", "--show-scope"]).output
    scopes = {line.split("\t")[0] for line in told.splitlines()}
    assert scopes == {"local", "command"}


def test_words_are_never_read_by_a_shell(sandbox: Sandbox) -> None:
    assert (
        sandbox.run(["echo", "$(touch x)", "`id`", "; ls", "$HOME"]).output == "$(touch x) `id` ; ls $HOME\n"
    )
    assert "x" not in sandbox.run(["ls"]).output


def test_what_is_missing_is_said() -> None:
    whole = Isolation(plan="spaces", landlock=0, seccomp=True, proc=True)
    assert whole.missing() == ()
    assert any("namespaces" in told for told in whole.model_copy(update={"seccomp": False}).missing())
    assert any("memory" in told for told in whole.model_copy(update={"proc": False}).missing())
    bare = whole.model_copy(update={"plan": "bare"})
    assert any("read whatever" in told for told in bare.missing())
    assert any("signal" in told for told in bare.model_copy(update={"landlock": 5}).missing())
    assert not any("network" in told for told in bare.missing())
    assert any("network" in told for told in bare.model_copy(update={"seccomp": False}).missing())
