"""The process in which chat templates are rendered, under limits; see `renderchild`."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from realm.core.errors import RefusedError
from realm.core.records import Message

Chat = Sequence[Message]

_CHILD = Path(__file__).with_name("renderchild.py")
_WALL_S = 60.0
_WALL_S_A_CHAT = 0.1
_CHATS_AT_ONCE = 512


class Refusal(NamedTuple):
    """Why a chat cannot be rendered, or what of it is trained cannot be told."""

    reason: str
    masking: bool
    """The text is known, only what is trained in it is not."""


class Text(NamedTuple):
    """One chat as its template writes it."""

    text: str
    blocks: tuple[tuple[int, int], ...]
    """Spans of the template's generation blocks."""


def as_dicts(chat: Chat) -> list[dict[str, str]]:
    """Return a chat as templates take it."""
    return [{"role": turn.role, "content": turn.content} for turn in chat]


class Renderer:
    """The process that renders: started when it is first needed, gone with the template or this process."""

    def __init__(self, source: str, variables: Mapping[str, str]) -> None:
        self.lock = threading.RLock()
        """Held by whoever asks: answers come in the order of requests."""
        self._source = source
        self._variables = variables
        self._child: subprocess.Popen[bytes] | None = None
        self._process = 0
        """Which process started the child; a fork of it must not speak to it."""
        self._stop: Callable[[], object] = _nothing
        self._buffer = b""
        self._marked = False
        self._literals: tuple[str, ...] = ()

    @property
    def marked(self) -> bool:
        """Whether the template has generation blocks."""
        self._start()
        return self._marked

    @property
    def literals(self) -> tuple[str, ...]:
        """Texts by which the template could tell contents apart."""
        self._start()
        return self._literals

    def render(self, chats: Sequence[list[dict[str, str]]], *, opening: bool = False) -> list[Text | Refusal]:
        """Render chats, with the assistant's header behind them where `opening`."""
        result: list[Text | Refusal] = []
        for begin in range(0, len(chats), _CHATS_AT_ONCE):
            part = chats[begin : begin + _CHATS_AT_ONCE]
            variables = {**self._variables, "add_generation_prompt": opening}
            answers = self._ask({"chats": part, "variables": variables}, len(part))
            result += [_read(answer) for answer in answers]
        return result

    def _ask(self, request: Mapping[str, Any], chats: int) -> Any:
        child = self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(request).encode() + b"\n")
            child.stdin.flush()
        except BrokenPipeError:
            raise self._gone() from None
        until = time.monotonic() + _WALL_S + _WALL_S_A_CHAT * chats
        pieces = [self._buffer]
        while b"\n" not in pieces[-1]:
            ready, _, _ = select.select([child.stdout], [], [], max(0.0, until - time.monotonic()))
            piece = os.read(child.stdout.fileno(), 1 << 20) if ready else b""
            if not piece:
                raise self._gone()
            pieces.append(piece)
        line, _, self._buffer = b"".join(pieces).partition(b"\n")
        return json.loads(line)

    def _start(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._process != os.getpid():
            self._child = subprocess.Popen(  # noqa: S603 - our own file, by this interpreter
                [sys.executable, "-I", str(_CHILD)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
            )
            self._process, self._buffer = os.getpid(), b""
            self._stop = weakref.finalize(self, _end, self._child, os.getpid())
            told = self._ask({"source": self._source}, 0)
            if "error" in told:
                self._stop()
                self._child = None
                raise RefusedError(
                    f"the chat template is not valid: {_shown(told['error'])}",
                    hint="mend chat_template.jinja",
                )
            self._marked, self._literals = told["marked"], tuple(told["literals"])
        return self._child

    def _gone(self) -> RefusedError:
        self._stop()
        self._child = None
        return RefusedError(
            "the chat template took too long or too much memory to render, and was stopped",
            hint="templates are programs; use the one that the model's maker publishes",
        )


def _end(child: subprocess.Popen[bytes], process: int) -> None:
    if process == os.getpid():
        child.kill()
        child.communicate()


def _nothing() -> None:
    """Stop nothing: no child was started yet."""


def _read(answer: Mapping[str, Any]) -> Text | Refusal:
    if "error" in answer:
        return Refusal(f"the chat template refuses this chat: {_shown(answer['error'])}", masking=False)
    return Text(answer["text"], tuple((begin, end) for begin, end in answer["spans"]))


def _shown(text: str) -> str:
    from realm.core.text import printable

    return printable(text, 200)
