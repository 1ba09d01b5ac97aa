"""Licence texts become SPDX identifiers, and each path gets that of the nearest folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.corpus.repos.licences import Licences, declared, detect, is_licence_file, together

MIT = """MIT License

Copyright (c) 2020 Somebody

Permission is hereby granted, free of charge, to any person obtaining a copy of
this software and associated documentation files (the "Software"), to deal in the Software
without restriction, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.
"""
BSD_2 = """Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:
1. Redistributions of source code must retain the above copyright notice.
2. Redistributions in binary form must reproduce the above copyright notice.
"""
BSD_3 = (
    BSD_2
    + """3. Neither the name of the holder nor the names of its contributors
may be used to endorse or promote products derived from this software."""
)
GNU = "\nEveryone is permitted to copy and distribute verbatim copies\nof this license document.\n"
ISC = """Permission to use, copy, modify, and/or distribute this software for any
purpose with or without fee is hereby granted"""
TEXTS = {
    "MIT": MIT,
    "BSD-2-Clause": BSD_2,
    "BSD-3-Clause": BSD_3,
    "Apache-2.0": "Apache License\nVersion 2.0, January 2004\n"
    "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION",
    "ISC": ISC + ", provided that the above copyright notice and this notice appear in all copies.",
    "0BSD": ISC + ".",
    "MPL-2.0": 'Mozilla Public License Version 2.0\n1. Definitions\n1.1. "Contributor" means',
    "GPL-2.0-only": "GNU GENERAL PUBLIC LICENSE\n  Version 2, June 1991\n" + GNU,
    "GPL-3.0-only": "GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007\n" + GNU + "use the GNU Lesser "
    "General Public License instead",
    "LGPL-2.1-only": "GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999\n" + GNU,
    "LGPL-3.0-only": "GNU LESSER GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007\n" + GNU,
    "AGPL-3.0-only": "GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3, 19 November 2007\n" + GNU,
    "Unlicense": "This is free and unencumbered software released into the public domain.",
    "CC0-1.0": "Creative Commons\nCC0 1.0 Universal",
    "Zlib": "The origin of this software must not be misrepresented. Altered source versions must be "
    "plainly marked as such.",
    "BSL-1.0": "Boost Software License - Version 1.0 - August 17th, 2003\nPermission is hereby granted, free "
    "of charge, to any person or organization obtaining a copy",
    "OFL-1.1": "SIL OPEN FONT LICENSE Version 1.1 - 26 February 2007",
}


@pytest.mark.parametrize("spdx", TEXTS)
def test_a_known_text_is_named(spdx: str) -> None:
    assert detect(TEXTS[spdx]) == spdx
    assert detect(TEXTS[spdx].replace("\n", "\r\n  * ").upper()) == spdx


@pytest.mark.parametrize(
    "text",
    ["", "All rights reserved.", "Use it as you like.", MIT + "\nThe Commons Clause applies: no selling."],
)
def test_what_is_not_known_is_never_guessed(text: str) -> None:
    assert detect(text) == "unknown"


def test_two_licences_in_one_text_both_hold() -> None:
    assert detect(MIT + BSD_3) == "BSD-3-Clause AND MIT"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("LICENSE", True),
        ("a/b/licence.txt", True),
        ("COPYING.LESSER", True),
        ("LICENSE-MIT", True),
        ("LICENSE-APACHE.txt", True),
        ("UNLICENSE", True),
        ("LICENSE.Noto.txt", False),
        ("sky.LICENSE.md", False),
        ("license_check.py", False),
        ("licenses.go", False),
    ],
)
def test_a_licence_file_is_told_by_its_name(name: str, is_one: bool) -> None:
    assert is_licence_file(name) is is_one


def test_the_nearest_folder_counts() -> None:
    licences = Licences({"LICENSE": MIT, "lib/zip/COPYING": TEXTS["Zlib"], "odd/LICENSE": "Ask me first."})
    assert licences.of("src/a.c") == "MIT"
    assert licences.of("lib/zip/inner/a.c") == "Zlib"
    assert licences.of("lib/zipper/a.c") == "MIT"
    assert licences.of("odd/a.c") == "unknown"
    assert Licences({}).of("src/a.c") == "unknown"


def test_several_files_of_one_folder() -> None:
    choice = Licences({"LICENSE-MIT": MIT, "LICENSE-APACHE": TEXTS["Apache-2.0"]})
    both = Licences({"COPYING": MIT, "LICENSE": TEXTS["Zlib"]})
    lesser = Licences({"COPYING": TEXTS["GPL-3.0-only"], "COPYING.LESSER": TEXTS["LGPL-3.0-only"]})
    assert choice.of("a.rs") == "Apache-2.0 OR MIT"
    assert both.of("a.c") == "MIT AND Zlib"
    assert lesser.of("a.c") == "LGPL-3.0-only"


@pytest.mark.parametrize(
    ("line", "expression"),
    [
        ("// SPDX-License-Identifier: MIT", "MIT"),
        (
            "/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */",
            "GPL-2.0-only WITH Linux-syscall-note",
        ),
        ("# SPDX-License-Identifier: (MIT OR Apache-2.0)", "(MIT OR Apache-2.0)"),
        ("<!-- SPDX-License-Identifier: CC-BY-4.0 -->", "CC-BY-4.0"),
        ("# SPDX-License-Identifier: ask the author, please", None),
        ("no such line", None),
    ],
)
def test_a_header_is_read(line: str, expression: str | None) -> None:
    assert declared("#!/bin/sh\n" + line + "\n\ncode\n") == expression


def test_what_is_made_of_an_unknown_part_is_unknown() -> None:
    assert together(["MIT", "MIT"]) == "MIT"
    assert together(["MIT", "Apache-2.0 OR MIT"]) == "(Apache-2.0 OR MIT) AND MIT"
    assert together(["MIT", "unknown"]) == "unknown"
    assert together([]) == "unknown"


@given(st.text(max_size=400), st.lists(st.sampled_from(list(TEXTS.values())), max_size=3))
def test_any_text_has_some_answer(text: str, known: list[str]) -> None:
    whole = text.join(known) + text
    assert detect(whole)
    assert declared(whole) is None or declared(whole)
    is_licence_file(text)


def test_a_hostile_header_does_not_hang() -> None:
    assert declared("SPDX-License-Identifier: " + "(MIT OR " * 100_000) is None
    assert declared("SPDX-License-Identifier: " + "MIT " * 100_000) is None
