"""Chat templates: the text of a chat, and which of its characters are trained.

A template with `{% generation %}` blocks says itself what is trained. For one without them it is
derived: each content is rendered once more between two private-use characters, and the result is
believed only where it is the plain rendering again without them. A trained turn reaches from the header
that invites the assistant to speak (what `add_generation_prompt` adds), or else from its content, to
its end token, that token included.

Most templates write the same text around contents whatever the contents are. For such *shapes*
(sequences of roles) that text is learnt once, from two probes and some real chats, and chats are joined
without rendering them. A content that holds a text by which the template could tell contents apart is
always rendered.

Templates run in a process of their own, under limits (see `renderchild`); a template that takes longer,
or more, is refused. Not covered: a template that looks at the length of contents, or at single
characters of them, in a way that neither probes nor samples meet.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from realm.core.errors import MaskingError, RefusedError
from realm.core.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Chat = Sequence[Message]
Roles = tuple[str, ...]

ASSISTANT: Roles = ("assistant",)
HINT = "wrap the assistant's content and its end token in {% generation %} … {% endgeneration %}"
_CHILD = Path(__file__).with_name("renderchild.py")
_WALL_S = 60.0
_WALL_S_A_CHAT = 0.1
_CHATS_AT_ONCE = 512
_FIRST_CHATS = 2
"""Real chats of a new shape that are rendered to see whether it holds for them."""
_FIRST_MARK = 0xF0000
_MARKS = re.compile("[\U000f0000-\U000ffffd]")
_MOST_TURNS = 0x7FFE


class Span(NamedTuple):
    """Trained characters of a rendered chat, and the turn they belong to."""

    begin: int
    end: int
    message: int
    """Index of the turn; -1 where blocks of the template match no turns."""


class Rendered(NamedTuple):
    """One chat as text."""

    text: str
    spans: tuple[Span, ...]


class Refusal(NamedTuple):
    """Why a chat cannot be rendered, or what of it is trained cannot be told."""

    reason: str
    masking: bool
    """The text is known, only what is trained in it is not."""


class Shape(NamedTuple):
    """What a template writes around the contents of chats with the same sequence of roles."""

    glue: tuple[str, ...]
    """Before the first content, between contents, and behind the last one."""
    edges: tuple[Callable[[str], str], ...]
    """How each content is trimmed."""
    spans: tuple[Span, ...]
    """`begin` counts in the glue before the turn's content, `end` in the glue behind it."""

    def text(self, chat: Chat) -> str:
        """Write a chat of this shape."""
        contents = [edge(turn.content) for edge, turn in zip(self.edges, chat, strict=True)]
        return (
            "".join([part for pair in zip(self.glue, contents, strict=False) for part in pair])
            + self.glue[-1]
        )

    def rendered(self, chat: Chat) -> Rendered:
        """Write a chat of this shape and place its spans."""
        glue_at, place = [], 0
        for glue, edge, turn in zip(self.glue, self.edges, chat, strict=False):
            glue_at.append(place)
            place += len(glue) + len(edge(turn.content))
        glue_at.append(place)
        spans = [
            Span(glue_at[s.message] + s.begin, glue_at[s.message + 1] + s.end, s.message) for s in self.spans
        ]
        return Rendered(self.text(chat), tuple(spans))


def _whole(text: str) -> str:
    return text


def _without_lines(text: str) -> str:
    return text.strip("\n")


def _without_first_lines(text: str) -> str:
    return text.lstrip("\n")


_EDGES: tuple[Callable[[str], str], ...] = (
    _whole,
    str.strip,
    str.lstrip,
    str.rstrip,
    _without_lines,
    _without_first_lines,
)
_RAGGED = "\n \n"
"""Blanks around a probe's content; every way of trimming makes something else of them."""


class Template:
    """One chat template with the special tokens of its tokenizer."""

    def __init__(
        self, source: str, variables: Mapping[str, str], tokens: Iterable[str], roles: Roles = ASSISTANT
    ) -> None:
        self.source = source
        self.roles = frozenset(roles)
        """Whose turns are trained."""
        self._variables = dict(variables)
        longest_first = sorted(tokens, key=len, reverse=True)
        self._token = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._shapes: dict[Roles, Shape | None] = {}
        self._openings: dict[Roles, str | None] = {}
        self._literals: tuple[str, ...] = ()
        self._renderer = _Renderer(source, self._variables)
        self._header: str | None = None
        self._end: tuple[str | None] | None = None

    @staticmethod
    def of(tokenizer: PreTrainedTokenizerFast, roles: Roles = ASSISTANT) -> Template:
        """Return a tokenizer's template. Raises RefusedError where it has no single one."""
        source = tokenizer.chat_template
        if not isinstance(source, str):
            raise RefusedError(
                "the tokenizer has no single chat template", hint="save one as chat_template.jinja beside it"
            )
        named = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if _is_token(token)}
        return _made(source, tuple(sorted(named.items())), tuple(sorted(tokenizer.get_added_vocab())), roles)

    def plan(self, chats: Sequence[Chat]) -> list[Shape | Rendered | Refusal]:
        """Return for each chat the shape it has, else its rendering, else why there is none.

        Raises RefusedError where the template itself does not work or takes too long.
        """
        with self._renderer.lock:
            renderer = self._renderer
            kinds = [tuple([turn.role for turn in chat]) for chat in chats]
            self._learn(renderer, kinds, chats)
            plan: list[Shape | Rendered | Refusal | None] = [
                None if self._may_differ(chat) else self._shapes[kind]
                for kind, chat in zip(kinds, chats, strict=True)
            ]
            missing = [i for i, found in enumerate(plan) if found is None]
            for index, found in zip(missing, self.locate(renderer, [chats[i] for i in missing]), strict=True):
                plan[index] = found
        return [found for found in plan if found is not None]

    def rendered(self, chats: Sequence[Chat]) -> list[Rendered | Refusal]:
        """Render every chat for real, whatever its shape."""
        with self._renderer.lock:
            renderer = self._renderer
            return self.locate(renderer, chats)

    def prompts(self, chats: Sequence[Chat]) -> list[str | Refusal]:
        """Return each chat's text up to where the assistant begins to speak."""
        kinds = [tuple([turn.role for turn in chat]) for chat in chats]
        with self._renderer.lock:
            renderer = self._renderer
            self._learn(renderer, kinds, chats)
            for kind in dict.fromkeys(kinds):
                if kind not in self._openings:
                    self._openings[kind] = self._opening(renderer, kind)
            result: list[str | Refusal | None] = [
                None if self._may_differ(chat) else self._opened(kind, chat)
                for kind, chat in zip(kinds, chats, strict=True)
            ]
            missing = [i for i, text in enumerate(result) if text is None]
            found = renderer.render([_as_dicts(chats[i]) for i in missing], opening=True) if missing else []
        for i, text in zip(missing, found, strict=True):
            result[i] = text if isinstance(text, Refusal) else text.text
        return [text for text in result if text is not None]

    def _opening(self, renderer: _Renderer, kind: Roles) -> str | None:
        """Return what is written behind chats of a shape to let the assistant speak."""
        shape = self._shapes[kind]
        if shape is None:
            return None
        probes = [_probe(kind, ""), _probe(kind, _RAGGED)]
        found = renderer.render([_as_dicts(probe) for probe in probes], opening=True)
        texts = [text.text for text in found if isinstance(text, _Text)]
        closed = [shape.text(probe) for probe in probes]
        if len(texts) < len(probes) or not all(map(str.startswith, texts, closed)):
            return None
        endings = {text[len(before) :] for text, before in zip(texts, closed, strict=True)}
        return endings.pop() if len(endings) == 1 else None

    def _opened(self, kind: Roles, chat: Chat) -> str | None:
        shape, opening = self._shapes[kind], self._openings[kind]
        return None if shape is None or opening is None else shape.text(chat) + opening

    def end_token(self) -> str | None:
        """Return the token that ends an assistant's turn, None where it cannot be told."""
        if self._end is None:
            [found] = self.rendered([_probe(("user", "assistant"), "")])
            spans = () if isinstance(found, Refusal) else found.spans
            text = "" if isinstance(found, Refusal) else found.text
            tokens = self._token.findall(text[spans[-1].begin : spans[-1].end]) if spans else []
            self._end = (tokens[-1] if tokens else None,)
        return self._end[0]

    def _may_differ(self, chat: Chat) -> bool:
        return any(text in turn.content for text in self._literals for turn in chat)

    def _learn(self, renderer: _Renderer, kinds: Sequence[Roles], chats: Sequence[Chat]) -> None:
        """Learn the shapes that are not known yet."""
        new = [kind for kind in dict.fromkeys(kinds) if kind not in self._shapes]
        if not new:
            return
        self._literals = tuple(renderer.literals)
        firsts: dict[Roles, list[Chat]] = {kind: [] for kind in new}
        for kind, chat in zip(kinds, chats, strict=True):
            seen = firsts.get(kind)
            if seen is not None and len(seen) < _FIRST_CHATS and not self._may_differ(chat):
                seen.append(chat)
        tried = [[_probe(kind, ""), _probe(kind, _RAGGED), *firsts[kind]] for kind in new]
        found = iter(self.locate(renderer, [chat for group in tried for chat in group]))
        for kind, group in zip(new, tried, strict=True):
            self._shapes[kind] = _shape(group, [next(found) for _ in group])

    def locate(self, renderer: _Renderer, chats: Sequence[Chat]) -> list[Rendered | Refusal]:
        """Render chats and tell what of each is trained."""
        plain = renderer.render([_as_dicts(chat) for chat in chats])
        result: list[Rendered | Refusal] = [
            found if isinstance(found, Refusal) else Refusal(_NO_TURNS, masking=True) for found in plain
        ]
        waiting = [i for i, found in enumerate(plain) if isinstance(found, _Text)]
        if renderer.marked and self.roles == {*ASSISTANT}:
            for i in waiting:
                result[i] = _by_blocks(chats[i], plain[i])
            return result
        for wrap in _WRAPS:
            wrapped = renderer.render([wrap(chats[i]) for i in waiting]) if waiting else []
            for i, text in zip(waiting, wrapped, strict=True):
                found = self._by_marks(renderer, chats[i], plain[i], text)
                # The first way of marking disturbs least, so what it says is told.
                if isinstance(found, Rendered) or wrap is _WRAPS[0]:
                    result[i] = found
            waiting = [i for i in waiting if isinstance(result[i], Refusal)]
        return result

    def _by_marks(
        self, renderer: _Renderer, chat: Chat, plain: _Text | Refusal, wrapped: _Text | Refusal
    ) -> Rendered | Refusal:
        """Read the spans off a rendering with marked contents."""
        if isinstance(plain, Refusal) or isinstance(wrapped, Refusal):
            return Refusal(_NO_TURNS, masking=True)
        if _MARKS.search(plain.text) or len(chat) > _MOST_TURNS:
            return Refusal(
                "it holds private-use characters, or more turns than can be told apart", masking=True
            )
        bare, places = _unmarked(wrapped.text)
        if bare != plain.text:
            return Refusal("the template writes contents another way when they are marked", masking=True)
        header = self._header_of(renderer)
        spans, before = [], 0
        for index, turn in enumerate(chat):
            first, last = places.get(_mark(index, end=False)), places.get(_mark(index, end=True))
            if turn.role in self.roles:
                span = self._span(bare, index, turn.role, (before, first, last), header)
                if isinstance(span, Refusal):
                    return span
                spans.append(span)
                before = span.end
            elif last is not None:
                before = max(before, last)
        return Rendered(bare, tuple(spans))

    def _span(
        self, text: str, index: int, role: str, places: tuple[int, int | None, int | None], header: str
    ) -> Span | Refusal:
        before, first, last = places
        if last is None:
            return Refusal(f"turn {index + 1} ({role}) cannot be found in the rendered chat", masking=True)
        begin = first
        if role == "assistant":
            begin = self._after_header(text, header, before, last if first is None else first, first)
        if begin is None:
            return Refusal(f"where turn {index + 1} ({role}) begins cannot be told", masking=True)
        blanks = len(text) - last - len(text[last:].lstrip())
        token = self._token.match(text, last + blanks)
        if token is None and role == "assistant":
            return Refusal(f"no end token follows turn {index + 1} (assistant)", masking=True)
        return Span(begin, token.end() if token else last, index)

    def _after_header(self, text: str, header: str, before: int, until: int, first: int | None) -> int | None:
        """Return where the assistant begins to speak: behind the header, else at its content."""
        if header:
            found = text.find(header, before, until)
            if found >= 0:
                return found + len(header)
        if first is not None:
            return first
        for token in reversed(list(self._token.finditer(header))):
            found = text.find(header[: token.end()], before, until)
            if found >= 0:
                return found + token.end()
        return None

    def _header_of(self, renderer: _Renderer) -> str:
        """Return what invites the assistant to speak; empty where nothing does, or nothing of its own."""
        if self._header is None:
            asked = [_as_dicts(_probe(("user",), ""))]
            [closed], [opened] = renderer.render(asked), renderer.render(asked, opening=True)
            usable = (
                isinstance(closed, _Text)
                and isinstance(opened, _Text)
                and opened.text.startswith(closed.text)
            )
            self._header = opened.text[len(closed.text) :] if usable else ""  # type: ignore[union-attr]
        return self._header


_NO_TURNS = "the turns cannot be found in the rendered chat"


@lru_cache(maxsize=16)
def _made(
    source: str, variables: tuple[tuple[str, str], ...], tokens: tuple[str, ...], roles: Roles
) -> Template:
    return Template(source, dict(variables), tokens, roles)


def _is_token(value: object) -> bool:
    return not isinstance(value, list | tuple | dict) and value is not None


def _probe(kind: Roles, blanks: str) -> Chat:
    return [
        Message.model_validate({"role": role, "content": f"{blanks}Zq{index:05d}é <&>'\" Xy{blanks}"})
        for index, role in enumerate(kind)
    ]


def _shape(chats: Sequence[Chat], found: Sequence[Rendered | Refusal]) -> Shape | None:
    """Return the shape of a plain probe if it holds for the ragged one and for the real chats too."""
    plain, ragged = found[:2]
    if isinstance(plain, Refusal) or isinstance(ragged, Refusal):
        return None
    glue = _glue(plain.text, [turn.content for turn in chats[0]])
    if glue is None:
        return None
    edges = _edges(ragged.text, glue, [turn.content for turn in chats[1]])
    if edges is None:
        return None
    spans = _relative(plain, glue, [turn.content for turn in chats[0]])
    if spans is None:
        return None
    shape = Shape(glue, edges, spans)
    return (
        shape if all(shape.rendered(chat) == text for chat, text in zip(chats, found, strict=True)) else None
    )


def _glue(text: str, contents: Sequence[str]) -> tuple[str, ...] | None:
    glue, place = [], 0
    for content in contents:
        found = text.find(content, place)
        if found < 0 or text.count(content) != 1:
            return None
        glue.append(text[place:found])
        place = found + len(content)
    return (*glue, text[place:])


def _edges(
    text: str, glue: Sequence[str], contents: Sequence[str]
) -> tuple[Callable[[str], str], ...] | None:
    if not text.startswith(glue[0]):
        return None
    chosen, place = [], len(glue[0])
    for content, behind in zip(contents, glue[1:], strict=True):
        fitting = [edge for edge in _EDGES if text.startswith(edge(content) + behind, place)]
        if not fitting:
            return None
        chosen.append(fitting[0])
        place += len(fitting[0](content)) + len(behind)
    return tuple(chosen) if place == len(text) else None


def _relative(plain: Rendered, glue: Sequence[str], contents: Sequence[str]) -> tuple[Span, ...] | None:
    """Count spans from the glue around their turns; None where one reaches into other turns."""
    result, place = [], 0
    glue_at = []
    for text, content in zip(glue, contents, strict=False):
        glue_at.append(place)
        place += len(text) + len(content)
    glue_at.append(place)
    for span in plain.spans:
        if span.message < 0:
            return None
        begin, end = span.begin - glue_at[span.message], span.end - glue_at[span.message + 1]
        if not (0 <= begin <= len(glue[span.message]) and 0 <= end <= len(glue[span.message + 1])):
            return None
        result.append(Span(begin, end, span.message))
    return tuple(result)


class _Text(NamedTuple):
    text: str
    blocks: tuple[tuple[int, int], ...]
    """Spans of the template's generation blocks."""


def _by_blocks(chat: Chat, plain: _Text | Refusal) -> Rendered | Refusal:
    """Take the template's own word for what is trained."""
    if isinstance(plain, Refusal):
        return plain
    turns = [index for index, turn in enumerate(chat) if turn.role == "assistant"]
    if len(turns) != len(plain.blocks):
        turns = [-1] * len(plain.blocks)
    return Rendered(
        plain.text, tuple(Span(*span, turn) for span, turn in zip(plain.blocks, turns, strict=True))
    )


def _mark(index: int, *, end: bool) -> str:
    return chr(_FIRST_MARK + 2 * index + end)


def _outside(index: int, content: str) -> str:
    return _mark(index, end=False) + content + _mark(index, end=True)


def _behind(index: int, content: str) -> str:
    return content + _mark(index, end=True)


def _inside(index: int, content: str) -> str:
    core = content.strip()
    head = content[: len(content) - len(content.lstrip())]
    return head + _outside(index, core) + content[len(head) + len(core) :]


def _behind_inside(index: int, content: str) -> str:
    core = content.rstrip()
    return _behind(index, core) + content[len(core) :]


def _wrapper(mark: Callable[[int, str], str]) -> Callable[[Chat], list[dict[str, str]]]:
    def wrap(chat: Chat) -> list[dict[str, str]]:
        return [{"role": turn.role, "content": mark(index, turn.content)} for index, turn in enumerate(chat)]

    return wrap


_WRAPS = tuple(_wrapper(mark) for mark in (_outside, _inside, _behind, _behind_inside))
"""Ways to mark contents; a template that trims or cuts them is disturbed by some and not by others."""


def _unmarked(text: str) -> tuple[str, dict[str, int]]:
    """Return a text without marks, and where each mark stood that occurs once."""
    places: dict[str, int] = {}
    twice: set[str] = set()
    for count, found in enumerate(_MARKS.finditer(text)):
        mark = found.group()
        if mark in places:
            twice.add(mark)
        places[mark] = found.start() - count
    return _MARKS.sub("", text), {mark: place for mark, place in places.items() if mark not in twice}


def _as_dicts(chat: Chat) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in chat]


class _Renderer:
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

    def render(
        self, chats: Sequence[list[dict[str, str]]], *, opening: bool = False
    ) -> list[_Text | Refusal]:
        """Render chats, with the assistant's header behind them where `opening`."""
        result: list[_Text | Refusal] = []
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


def _read(answer: Mapping[str, Any]) -> _Text | Refusal:
    if "error" in answer:
        return Refusal(f"the chat template refuses this chat: {_shown(answer['error'])}", masking=False)
    return _Text(answer["text"], tuple((begin, end) for begin, end in answer["spans"]))


def _shown(text: str) -> str:
    from realm.core.text import printable

    return printable(text, 200)


def underivable(reason: str) -> MaskingError:
    """Return the error for a template whose trained turns cannot be told."""
    return MaskingError(
        f"the chat template does not mark what the assistant generates, and it cannot be derived: {reason}",
        hint=HINT,
    )
