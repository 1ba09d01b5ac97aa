"""The words of a row: what it asks, what it answers, and both as tokens that can be compared.

A word is a run of letters, digits and underscores, or one sign that is no blank; each Chinese character
and kana is a word, because those scripts write no blanks. System turns are left out of everything here:
rows of one domain share theirs, and what is shared by all tells no two rows apart.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Sequence

from realm.core.records import Example, Message
from realm.corpus.shaper import Row

MAX_CHARS = 1_000_000
"""What is compared of one row; the rest of a longer one is not looked at."""
DIGEST_BYTES = 16

_WIDE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_MARKS = r".,;:!?\"'()\[\]{}`#…“”‘’«»·"
# Where all is ASCII, the same words are found in two thirds of the time.
_WORDS = re.compile(rf"[{_WIDE}]|[^\W{_WIDE}]+|[^\w\s]")
_PLAIN_WORDS = re.compile(r"\w+|[^\w\s]", re.ASCII)
_BARE_WORDS = re.compile(rf"[{_WIDE}]|[^\W{_WIDE}]+|(?<!\*)\*(?!\*)|[^\w\s*{_MARKS}]")
_PLAIN_MARKS = b".,;:!?\"'()[]{}`#"
_PLAIN_BARE = bytes(32 if byte in _PLAIN_MARKS else byte for byte in bytes(range(256)).lower())
"""What becomes of each byte of ASCII: lower case, marks blank."""
_STARS = re.compile(r"\*\*+")
_SIGN = re.compile(r"([^\w\s])", re.ASCII)


def words(text: str) -> list[str]:
    """Return the words of a text in lower case, of its first million characters."""
    shown = text[:MAX_CHARS]
    return (_PLAIN_WORDS if shown.isascii() else _WORDS).findall(shown.lower())


def normalised(text: str) -> list[str]:
    """Return the words of a text without what editors, renderers and typists change.

    Unicode NFKC, case folded, no emphasis marks (`**`, backticks), no sentence punctuation, quotes or
    brackets; signs of arithmetic stay, because `3 + 4` and `3 - 4` are two problems.
    """
    shown = text[:MAX_CHARS]
    if shown.isascii():
        return _plainly(shown)
    return _BARE_WORDS.findall(unicodedata.normalize("NFKC", shown).casefold())


def _plainly(text: str) -> list[str]:
    """Return the normalised words of ASCII, in two thirds of the time that matching each word takes."""
    shown = text.encode().translate(_PLAIN_BARE).decode()
    if "**" in shown:
        shown = _STARS.sub(" ", shown)
    first, *rest = _SIGN.split(shown)
    found = first.split()
    for sign, between in zip(rest[::2], rest[1::2], strict=True):
        found.append(sign)
        found += between.split()
    return found


def question(example: Example) -> str:
    """Return what the assistant is given: user and tool turns; empty for a text."""
    return "\n".join(turn.content for turn in example.messages if turn.role in ("user", "tool"))


def answer(example: Example) -> str:
    """Return what is learnt: assistant turns, of a preference both endings, or the text."""
    if example.text is not None:
        return example.text
    spoken = [turn.content for turn in example.messages if turn.role == "assistant"]
    if example.rejected:
        spoken += [turn.content for turn in ending(example) if turn.role == "assistant"]
    if example.expected is not None:
        spoken.append(example.expected)
    return "\n".join(spoken)


def ending(example: Example) -> Sequence[Message]:
    """Return the turns of the worse chat from where it parts from the better one."""
    common = 0
    for better, worse in zip(example.messages, example.rejected, strict=False):
        if (better.role, better.content) != (worse.role, worse.content):
            break
        common += 1
    return example.rejected[common:]


def content_digest(example: Example) -> bytes:
    """Return 16 bytes that name what a row teaches: turns, weights and answer, no tags or origin."""
    parts = [f"{len(example.messages)} {len(example.rejected)}"]
    for turn in (*example.messages, *example.rejected):
        parts += (f"{turn.role} {turn.weight} {len(turn.content)}", turn.content)
    for text in (example.text, example.expected):
        parts += ("none",) if text is None else (f"text {len(text)}", text)
    return digest("\n".join(parts))


def digest(text: str) -> bytes:
    """Return 16 bytes that name a text. Lone surrogates are taken as they are."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


def digest_int(text: str) -> int:
    """Return 64 bits that name a text, for arrays of numbers."""
    return int.from_bytes(
        hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


def tag(row: Row, name: str) -> str:
    """Return a tag as text, empty where the row has none."""
    return str(row.example.tags.get(name, ""))


def place(row: Row) -> str:
    """Return where a row came from, for tallies: source, file or document, and line."""
    where = row.origin.path or row.document
    line = f":{row.origin.first_line}" if row.origin.first_line else ""
    return f"{row.origin.source}/{where}{line}"


def texts(example: Example) -> list[str]:
    """Return every text of a row: of all turns, of the worse ending, the text, the expected answer."""
    found = [turn.content for turn in (*example.messages, *ending(example))]
    return [*found, *(each for each in (example.text, example.expected) if each is not None)]
