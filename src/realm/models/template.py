"""Chat templates: the text of a chat, and which of its characters are trained.

Each content is rendered once more between two marks (see `marks`), and the result is believed only where
it is the plain rendering again without them. A template with `{% generation %}` blocks then says itself
what is trained, where each block holds one turn of the assistant. For one without them it is derived: a
trained turn reaches from the header that invites the assistant to speak (what `add_generation_prompt`
adds), or else from its content, to its end token, that token included.

Most templates write the same text around contents whatever the contents are. For such *shapes*
(sequences of roles) that text is learnt once, from two probes and some real chats, and chats are joined
without rendering them. A content that holds a text by which the template could tell contents apart is
always rendered.

Templates run in a process of their own, under limits (see `renderer`); a template that takes longer,
or more, is refused. Not covered: a template that looks at the length of contents, or at single
characters of them, in a way that neither probes nor samples meet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from realm.core.errors import MaskingError, RefusedError
from realm.models.marks import MOST_TURNS, WRAPS, Marked, by_blocks, read_marks
from realm.models.renderer import Chat, Refusal, Renderer, Text, as_dicts
from realm.models.shape import RAGGED, Rendered, Roles, Shape, Span, probe, shape_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

ASSISTANT: Roles = ("assistant",)
HINT = "wrap the assistant's content and its end token in {% generation %} … {% endgeneration %}"
_FIRST_CHATS = 2
"""Real chats of a new shape that are rendered to see whether it holds for them."""


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
        self._renderer = Renderer(source, self._variables)
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
            found = renderer.render([as_dicts(chats[i]) for i in missing], opening=True) if missing else []
        for i, text in zip(missing, found, strict=True):
            result[i] = text if isinstance(text, Refusal) else text.text
        return [text for text in result if text is not None]

    def _opening(self, renderer: Renderer, kind: Roles) -> str | None:
        """Return what is written behind chats of a shape to let the assistant speak."""
        shape = self._shapes[kind]
        if shape is None:
            return None
        probes = [probe(kind, ""), probe(kind, RAGGED)]
        found = renderer.render([as_dicts(chat) for chat in probes], opening=True)
        texts = [text.text for text in found if isinstance(text, Text)]
        closed = [shape.text(chat) for chat in probes]
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
            [found] = self.rendered([probe(("user", "assistant"), "")])
            spans = () if isinstance(found, Refusal) else found.spans
            text = "" if isinstance(found, Refusal) else found.text
            tokens = self._token.findall(text[spans[-1].begin : spans[-1].end]) if spans else []
            self._end = (tokens[-1] if tokens else None,)
        return self._end[0]

    def _may_differ(self, chat: Chat) -> bool:
        return any(text in turn.content for text in self._literals for turn in chat)

    def _learn(self, renderer: Renderer, kinds: Sequence[Roles], chats: Sequence[Chat]) -> None:
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
        tried = [[probe(kind, ""), probe(kind, RAGGED), *firsts[kind]] for kind in new]
        found = iter(self.locate(renderer, [chat for group in tried for chat in group]))
        for kind, group in zip(new, tried, strict=True):
            self._shapes[kind] = shape_of(group, [next(found) for _ in group])

    def locate(self, renderer: Renderer, chats: Sequence[Chat]) -> list[Rendered | Refusal]:
        """Render chats and tell what of each is trained."""
        plain = renderer.render([as_dicts(chat) for chat in chats])
        result: list[Rendered | Refusal] = [
            found if isinstance(found, Refusal) else Refusal(_NO_TURNS, masking=True) for found in plain
        ]
        waiting = list[int]()
        for i, found in enumerate(plain):
            if len(chats[i]) > MOST_TURNS:
                result[i] = Refusal(f"it has more than {MOST_TURNS} turns", masking=True)
            elif isinstance(found, Text):
                waiting.append(i)
        for wrap in WRAPS:
            wrapped = renderer.render([wrap(chats[i]) for i in waiting]) if waiting else []
            again = list[int]()
            for i, text in zip(waiting, wrapped, strict=True):
                told, final = self._told(renderer, chats[i], plain[i], text)
                # The first way of marking disturbs least, so what it says is told.
                if final or wrap is WRAPS[0]:
                    result[i] = told
                if not final:
                    again.append(i)
            waiting = again
        return result

    def _told(
        self, renderer: Renderer, chat: Chat, plain: Text | Refusal, wrapped: Text | Refusal
    ) -> tuple[Rendered | Refusal, bool]:
        """Tell what is trained by one way of marking, and whether another could not tell otherwise."""
        if isinstance(plain, Refusal) or isinstance(wrapped, Refusal):
            return Refusal(_NO_TURNS, masking=True), False
        marked = read_marks(plain, wrapped)
        if marked is None:
            return Refusal(
                "the template writes contents another way when they are marked", masking=True
            ), False
        if renderer.marked and self.roles == {*ASSISTANT}:
            return by_blocks(chat, plain, marked), True
        told = self._by_marks(renderer, chat, plain.text, marked)
        return told, isinstance(told, Rendered)

    def _by_marks(self, renderer: Renderer, chat: Chat, text: str, marked: Marked) -> Rendered | Refusal:
        """Read the spans off a rendering with marked contents."""
        header, places = self._header_of(renderer), marked.once()
        spans, before = list[Span](), 0
        for index, turn in enumerate(chat):
            first, last = places.get((index, False)), places.get((index, True))
            if turn.role in self.roles:
                span = self._span(text, index, turn.role, (before, first, last), header)
                if isinstance(span, Refusal):
                    return span
                spans.append(span)
                before = span.end
            elif last is not None:
                before = max(before, last)
        return Rendered(text, tuple(spans))

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

    def _header_of(self, renderer: Renderer) -> str:
        """Return what invites the assistant to speak; empty where nothing does, or nothing of its own."""
        if self._header is None:
            asked = [as_dicts(probe(("user",), ""))]
            [closed], [opened] = renderer.render(asked), renderer.render(asked, opening=True)
            usable = (
                isinstance(closed, Text) and isinstance(opened, Text) and opened.text.startswith(closed.text)
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


def underivable(reason: str) -> MaskingError:
    """Return the error for a template whose trained turns cannot be told."""
    return MaskingError(
        f"what is trained cannot be told from the chat template: {reason}",
        hint=HINT,
    )
