"""Licences: from the texts that repositories hold to SPDX identifiers, one per subtree.

A text is known by phrases that only it has, on words alone: case, punctuation, line ends and names do
not count. What is not known is `unknown`, never guessed; a version that a text leaves open
(`GPL-3.0` "or later" is said elsewhere) is read as `-only`. SPDX: https://spdx.org/licenses/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

UNKNOWN = "unknown"
_TEXT_CHARS = 100_000
_HEADER_CHARS = 4_096
_EXPRESSION_CHARS = 200

_FILE = re.compile(r"(?:un)?licen[cs]e(?:s)?|copying|copyright", re.IGNORECASE)
_SUFFIX = re.compile(r"\.(?:md|txt|rst|markdown)$", re.IGNORECASE)
_WHICH = re.compile(
    r"(?:mit|x11|apache|apache2|apache-?2\.0|bsd|bsd-?[23]|bsd-?[23]-clause|isc|mpl|mpl-?2\.0|a?l?gpl(?:-?v?[23](?:\.[01])?)?"
    r"(?:-only|-or-later)?|lesser|lib|zlib|boost|bsl-?1\.0|cc0|unlicense|wtfpl|code|source)",
    re.IGNORECASE,
)
_HEADER = re.compile(r"SPDX-License-Identifier:[ \t]*([^\n]*)")
_EXPRESSION = re.compile(
    r"\(*[A-Za-z0-9][A-Za-z0-9.+-]*\)*(?: +(?:AND|OR|WITH) +\(*[A-Za-z0-9][A-Za-z0-9.+-]*\)*)*$"
)
_COMMENT_END = re.compile(r"\s*(?:\*/|-->|\]\]|#}|--}}|\"\"\").*$")
_WORDS = re.compile(r"[^a-z0-9.]+")


class _Text(NamedTuple):
    """Words that a licence has, all of them, and words that another one adds."""

    spdx: str
    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()


_BSD = "redistribution and use in source and binary forms with or without modification are permitted"
_BSD_3 = "may be used to endorse or promote products derived from this software"
_MIT = "permission is hereby granted free of charge to any person obtaining a copy of this software"
_MIT_KEEP = "shall be included in all copies or substantial portions of the software"
_GNU = "everyone is permitted to copy and distribute verbatim copies of this license document"
_TEXTS: tuple[_Text, ...] = (
    _Text("MIT", (_MIT, _MIT_KEEP), ("except as contained in this notice", "shall be used for good not evil",
                                     "commons clause")),
    _Text("MIT-0", (_MIT, "without restriction"), (_MIT_KEEP, "commons clause", "boost software license")),
    _Text("X11", (_MIT, _MIT_KEEP, "except as contained in this notice"), ("commons clause",)),
    _Text("Apache-2.0", ("apache license version 2.0",
                         "terms and conditions for use reproduction and distribution"), ("commons clause",)),
    _Text("Apache-2.0", ("licensed under the apache license version 2.0",), ("commons clause",
          "terms and conditions for use reproduction and distribution")),
    _Text("BSD-4-Clause", (_BSD, "all advertising materials mentioning features or use of this software")),
    _Text("BSD-3-Clause", (_BSD, _BSD_3), ("all advertising materials mentioning", "nuclear facility",
                                           "express or implied licenses to any party s patent")),
    _Text("BSD-2-Clause", (_BSD, "redistributions in binary form must reproduce"), (_BSD_3,
          "all advertising materials mentioning", "endorse or promote")),
    _Text("0BSD", ("permission to use copy modify and or distribute this software for any purpose with or "
                   "without fee is hereby granted",), ("provided that the above copyright notice",)),
    _Text("ISC", ("permission to use copy modify and or distribute this software for any purpose with or "
                  "without fee is hereby granted provided that the above copyright notice",)),
    _Text("ISC", ("permission to use copy modify and distribute this software for any purpose with or "
                  "without fee is hereby granted provided that the above copyright notice",)),
    _Text("MPL-2.0", ("mozilla public license version 2.0", "1.1 contributor")),
    _Text("MPL-2.0", ("subject to the terms of the mozilla public license v 2.0",), ("1.1 contributor",)),
    _Text("MPL-1.1", ("mozilla public license version 1.1",)),
    _Text("AGPL-3.0-only", ("gnu affero general public license version 3", _GNU)),
    _Text("LGPL-3.0-only", ("gnu lesser general public license version 3", _GNU)),
    _Text("LGPL-2.1-only", ("gnu lesser general public license version 2.1", _GNU)),
    _Text("LGPL-2.0-only", ("gnu library general public license version 2", _GNU)),
    _Text("GPL-3.0-only", ("gnu general public license version 3 29 june 2007", _GNU)),
    _Text("GPL-2.0-only", ("gnu general public license version 2 june 1991", _GNU)),
    _Text("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    _Text("CC0-1.0", ("cc0 1.0 universal",)),
    _Text("CC-BY-4.0", ("attribution 4.0 international",), ("sharealike", "noncommercial", "noderivatives")),
    _Text("CC-BY-SA-4.0", ("attribution sharealike 4.0 international",), ("noncommercial 4.0",)),
    _Text("Zlib", ("altered source versions must be plainly marked as such",
                   "the origin of this software must not be misrepresented")),
    _Text("BSL-1.0", ("boost software license version 1.0",)),
    _Text("BUSL-1.1", ("business source license 1.1",)),
    _Text("EPL-2.0", ("eclipse public license v 2.0",)),
    _Text("OFL-1.1", ("sil open font license version 1.1",)),
    _Text("WTFPL", ("do what the fuck you want to public license",)),
    _Text("Elastic-2.0", ("elastic license 2.0", "you may not provide the software to third parties")),
)  # fmt: skip


def is_licence_file(path: str) -> bool:
    """Say whether a file by this name states the licence of the folder it lies in.

    `LICENSE`, `COPYING.txt`, `LICENSE-MIT`, `COPYING.LESSER` do; `LICENSE.Noto.txt` and
    `sky.LICENSE.md` speak of single files beside them and do not.
    """
    name = _SUFFIX.sub("", path.rpartition("/")[2])
    found = _FILE.match(name)
    if found is None:
        return False
    rest = name[found.end() :]
    return not rest or (rest[0] in ".-_" and _WHICH.fullmatch(rest[1:]) is not None)


def detect(text: str) -> str:
    """Return the SPDX identifier of a licence text, or `unknown`.

    A text that holds several licences is an expression with `AND`: all of them are kept.
    """
    header = declared(text)
    if header is not None:
        return header
    words = _WORDS.sub(" ", text[:_TEXT_CHARS].lower())
    words = words.replace(". ", " ")
    found = dict.fromkeys(
        known.spdx
        for known in _TEXTS
        if all(phrase in words for phrase in known.has) and not any(phrase in words for phrase in known.lacks)
    )
    names = _without_quoted(list(found))
    return " AND ".join(sorted(names)) if names else UNKNOWN


def declared(text: str) -> str | None:
    """Return the expression of an `SPDX-License-Identifier` near a text's beginning, or None.

    Anything that is no SPDX expression is taken for no declaration.
    """
    found = _HEADER.search(text[:_HEADER_CHARS])
    if found is None:
        return None
    expression = _COMMENT_END.sub("", found.group(1)[:_EXPRESSION_CHARS]).strip()
    return expression if _EXPRESSION.fullmatch(expression) else None


def together(licences: Iterable[str]) -> str:
    """Return the licence of something made of several parts: unknown if any part is."""
    parts = dict.fromkeys(licences)
    if not parts or UNKNOWN in parts:
        return UNKNOWN
    if len(parts) == 1:
        return next(iter(parts))
    return " AND ".join(sorted(f"({part})" if " OR " in part else part for part in parts))


class Licences:
    """Tell the licence that holds for a path: that of the nearest folder with a licence file."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Take the licence files' texts by path, with `/`."""
        found: dict[str, dict[str, str]] = {}
        for path in sorted(texts):
            folder, _, name = path.rpartition("/")
            found.setdefault(folder, {})[name] = detect(texts[path])
        self.by_folder = {folder: _of_folder(names) for folder, names in found.items()}
        """SPDX expressions by folder; the root is the empty string."""

    def of(self, path: str) -> str:
        """Return the SPDX expression for a path, or `unknown`."""
        folder = path
        while folder:
            folder = folder.rpartition("/")[0]
            if folder in self.by_folder:
                return self.by_folder[folder]
        return UNKNOWN


def _of_folder(names: Mapping[str, str]) -> str:
    """Join the licences of one folder's files.

    `LICENSE-MIT` beside `LICENSE-APACHE` offers a choice, by custom. The GPL's text beside the LGPL's
    belongs to it. Anything else holds together.
    """
    licences = _without_quoted(list(dict.fromkeys(names.values())))
    choice = all(re.match(r"licen[cs]e[.-]", _SUFFIX.sub("", name), re.IGNORECASE) for name in names)
    if choice and len(licences) > 1 and UNKNOWN not in licences:
        return " OR ".join(sorted(licences))
    return together(licences)


def _without_quoted(names: list[str]) -> list[str]:
    """Leave out licences that are only quoted or included by another one found."""
    lesser = any(name.startswith(("LGPL", "AGPL")) for name in names)
    if lesser:
        names = [name for name in names if not name.startswith("GPL")]
    if "MPL-2.0" in names:
        names = [name for name in names if not name.startswith(("GPL", "LGPL", "AGPL"))]
    return names
