"""What of a document is shown to the teacher: a text as it is, a file of code function by function."""

from __future__ import annotations

from collections.abc import Iterator

from realm.corpus.code.syntax import GRAMMARS
from realm.corpus.code.units import find
from realm.corpus.document import Document
from realm.corpus.teaching.verifying import Gate

BROKEN = "a text whose code does not parse"


def cut(document: Document, gate: Gate) -> Iterator[Document | str]:
    """Yield the functions of a file of code, each as a document of its own lines; other texts whole.

    A part keeps the id of its document, which is where its row is from. What does not parse is no answer
    to learn from and not worth a request: yields the reason instead.
    """
    text, language = document.text or "", document.language
    if language not in GRAMMARS:
        yield document
        return
    found = find(text, language)
    functions = [] if isinstance(found, str) else [unit for unit in found.units if unit.is_function]
    first = document.origin.first_line or 1
    for unit in functions:
        lines = {"first_line": first + unit.first_line - 1, "last_line": first + unit.last_line - 1}
        yield document.model_copy(
            update={"text": unit.text, "origin": document.origin.model_copy(update=lines)}
        )
    if not functions:
        yield BROKEN if gate(language, text) is False else document
