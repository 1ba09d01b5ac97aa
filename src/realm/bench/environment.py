"""The environments that the peers live in: built on first use, in the user's cache folder.

There is one for each device, since kernels for GPUs are gigabytes that nobody else needs. It is
named by the hash of everything that goes into it, and built under another name that it loses when it
is complete. Whatever is found under the final name is therefore whole and up to date.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from realm.bench.turns import Where
from realm.core.errors import UnavailableError
from realm.core.hashing import hash_json, short
from realm.storage.durable import explained

PEERS = (
    "transformers==5.23.0",
    "trl==1.16.0",
    "peft==0.21.2",
    "datasets==5.2.0",
    "accelerate==1.15.0",
)
_BUILDING = "building-"
_SHOWN_LINES = 6


@dataclass(frozen=True)
class _Addition:
    """What the peers' environment of a device has beside torch and TRL."""

    prefix: str
    """Of its folder's name."""
    needed: tuple[str, ...]
    wished: tuple[str, ...]
    """Left out where they cannot be installed: they do not exist for every system."""
    size: str
    """On disk, roughly."""


_ADDITIONS: Mapping[Where, _Addition] = {
    "cpu": _Addition(prefix="peers-", needed=(), wished=(), size="2 GB"),
    # Flash attention 2 is on package indexes as source alone, 3 is not on them, 4 comes as a wheel.
    "cuda": _Addition(
        prefix="cuda-peers-",
        needed=("liger-kernel==0.8.5",),
        wished=("flash-attn-4==4.0.0b36",),
        size="10 GB",
    ),
}


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that Realm keeps what it can make again in."""
    if own := environment.get("REALM_CACHE"):
        return Path(own)
    if shared := environment.get("XDG_CACHE_HOME"):
        return Path(shared) / "realm"
    return Path.home() / ".cache" / "realm"


def requirements(device: Where = "cpu") -> tuple[str, ...]:
    """Return what is installed, in order: torch first, in the very build that the engine runs on."""
    return (f"torch=={version('torch')}", *PEERS, *_ADDITIONS[device].needed)


def folder_name(needed: Sequence[str], python: str = sys.version, prefix: str = "peers-") -> str:
    """Return the name of the environment that holds these packages for this interpreter."""
    return prefix + short(hash_json([python, *needed]))


def peers_python(say: Callable[[str], None], device: Where = "cpu") -> Path:
    """Return the interpreter of the peers' environment, which is built if it is not there.

    Raises UnavailableError with the last lines of pip where it cannot be built.
    """
    needed, addition = requirements(device), _ADDITIONS[device]
    bench = cache_folder() / "bench"
    final = bench / folder_name([*needed, *addition.wished], prefix=addition.prefix)
    if not final.is_dir():
        with explained(bench):
            bench.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=bench))
        try:
            say(f"building the peers' environment in {bench} (once, some minutes, about {addition.size})")
            build(building, needed, say)
            for package in addition.wished:
                add(building, needed, package, say)
            _settle(building, final, addition.prefix)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return _python(final)


def build(folder: Path, needed: Sequence[str], say: Callable[[str], None]) -> None:
    """Make a virtual environment of exactly these packages, the first one on its own."""
    _run([sys.executable, "-m", "venv", str(folder)], "no virtual environment could be made")
    # Left to the others' requirements, another build of torch could come with gigabytes of drivers.
    for packages in (list(needed[:1]), list(needed)):
        say(f"installing {', '.join(packages)}")
        _run([*_install(folder), *packages], f"{', '.join(packages)} could not be installed")


def add(folder: Path, needed: Sequence[str], package: str, say: Callable[[str], None]) -> None:
    """Install what an environment can do without, all else staying as it is; say if it could not be."""
    say(f"installing {package}")
    try:
        _run([*_install(folder), *needed, package], f"{package} could not be installed")
    except UnavailableError as error:
        say(f"left out: {error.what}")


def _install(folder: Path) -> list[str]:
    return [str(_python(folder)), "-m", "pip", "--disable-pip-version-check", "install"]


def _settle(building: Path, final: Path, prefix: str) -> None:
    """Give a complete environment its name, and remove those that it replaces."""
    with explained(final):
        try:
            building.rename(final)
        except OSError:
            if not final.is_dir():  # else another process was faster
                raise
    for old in final.parent.glob(f"{prefix}*"):
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _run(command: Sequence[str], failed: str) -> None:
    done = subprocess.run(  # noqa: S603 - an argument list of ours
        list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        last = done.stdout.decode(errors="replace").strip().splitlines()[-_SHOWN_LINES:]
        raise UnavailableError(
            f"the peers' environment: {failed}:\n" + "\n".join(last),
            hint="the peers come from a package index; PIP_INDEX_URL and PIP_EXTRA_INDEX_URL say which",
        )
