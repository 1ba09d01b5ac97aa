"""Which language a file is in: by its name, its first line, and for C headers by what they hold."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

_HEADER_SAMPLE = 65_536
_CPP_HEADER = re.compile(
    r"^[ \t]*(?:namespace\s|class\s+\w|template\s*<|using\s+\w+\s*=|(?:public|private|protected)\s*:)", re.M
)
_CPP_PART = re.compile(
    r"::|\)[ \t]*const\b|\boperator\b|\b(?:nullptr|noexcept|constexpr|static_cast|reinterpret_cast)\b"
    r"|^[ \t]*(?:template|using|class|namespace|virtual)\b",
    re.M,
)
_SHEBANG = re.compile(r"#!\s*\S*?/?(?:env\s+(?:-S\s+)?)?([A-Za-z]+)[0-9.]*(?:\s|$)")


class Language(NamedTuple):
    """One language: how it is told, and the name people know it by."""

    shown: str
    extensions: tuple[str, ...]
    filenames: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()


LANGUAGES: dict[str, Language] = {
    "bash": Language("Bash", ("sh", "bash"), (".bashrc", ".profile", "PKGBUILD"), ("sh", "bash", "dash")),
    "c": Language("C", ("c", "h")),
    "cmake": Language("CMake", ("cmake",), ("CMakeLists.txt",)),
    "cpp": Language("C++", ("cpp", "cc", "cxx", "hpp", "hh", "hxx", "inl", "ipp")),
    "csharp": Language("C#", ("cs",)),
    "dockerfile": Language("Dockerfile", ("dockerfile",), ("Dockerfile", "Containerfile")),
    "gdscript": Language("GDScript", ("gd",)),
    "gdshader": Language("Godot shader", ("gdshader", "gdshaderinc")),
    "glsl": Language("GLSL", ("glsl", "vert", "frag", "comp")),
    "go": Language("Go", ("go",)),
    "ini": Language("INI", ("ini", "cfg", "conf", "godot", "gdextension"), (".editorconfig", ".gitconfig")),
    "java": Language("Java", ("java",)),
    "javascript": Language("JavaScript", ("js", "mjs", "cjs", "jsx"), (), ("node",)),
    "json": Language("JSON", ("json",)),
    "lua": Language("Lua", ("lua",), (), ("lua", "luajit")),
    "make": Language("Make", ("mk",), ("Makefile", "makefile", "GNUmakefile")),
    "markdown": Language("Markdown", ("md", "markdown")),
    "php": Language("PHP", ("php",), (), ("php",)),
    "python": Language("Python", ("py", "pyi"), ("SConstruct", "SConscript", "SCsub"), ("python",)),
    "restructuredtext": Language("reStructuredText", ("rst",)),
    "ruby": Language("Ruby", ("rb",), ("Gemfile", "Rakefile"), ("ruby",)),
    "rust": Language("Rust", ("rs",)),
    "sql": Language("SQL", ("sql",)),
    "starlark": Language("Starlark", ("bzl", "bazel"), ("BUILD", "WORKSPACE")),
    "text": Language("text", ("txt",), ("README", "CHANGELOG", "AUTHORS")),
    "toml": Language("TOML", ("toml",), ("Cargo.lock", "Pipfile")),
    "typescript": Language("TypeScript", ("ts", "tsx", "mts", "cts")),
    "yaml": Language("YAML", ("yaml", "yml"), (".clang-format", ".clang-tidy")),
}
"""By the name that documents carry. `text` is prose."""

ALIASES: dict[str, str] = {
    "c++": "cpp", "cc": "cpp", "cxx": "cpp", "hpp": "cpp", "c#": "csharp", "cs": "csharp", "gd": "gdscript",
    "golang": "go", "js": "javascript", "jsx": "javascript", "py": "python", "python3": "python",
    "rs": "rust", "sh": "bash", "shell": "bash", "ts": "typescript", "yml": "yaml",
}  # fmt: skip
"""Other names of languages on code fences; `console` and the like hold a terminal's output, no code."""


def by_name(path: str) -> str | None:
    """Return the language that a file's name tells, or None."""
    name = path.rpartition("/")[2]
    found = _filenames().get(name)
    if found is None and "." in name.lstrip("."):
        found = _extensions().get(name.rpartition(".")[2].lower())
    return found


def by_shebang(first_line: str) -> str | None:
    """Return the language of the interpreter that a first line `#!…` asks for, or None."""
    found = _SHEBANG.match(first_line[:256])
    return _interpreters().get(found.group(1).lower()) if found else None


def language_of(path: str, text: str) -> str | None:
    """Return the language of a file by its name, else its first line; `.h` and `.inl` are of C or C++."""
    language = by_name(path)
    if language is None:
        return by_shebang(text[:256].partition("\n")[0])
    if language == "c" and path.endswith((".h", ".H")) and _CPP_HEADER.search(text[:_HEADER_SAMPLE]):
        return "cpp"
    if path.endswith(".inl") and not _CPP_PART.search(text[:_HEADER_SAMPLE]):
        return "c"
    return language


def fenced(info: str) -> str | None:
    """Return the language that a code fence's info string names, or None."""
    words = info.strip().lower().replace("{", " ").replace(",", " ").split()
    if not words:
        return None
    name = words[0].lstrip(".")
    name = ALIASES.get(name, name)
    return name if name in LANGUAGES else None


@cache
def _extensions() -> dict[str, str]:
    return {extension: name for name, language in LANGUAGES.items() for extension in language.extensions}


@cache
def _filenames() -> dict[str, str]:
    return {filename: name for name, language in LANGUAGES.items() for filename in language.filenames}


@cache
def _interpreters() -> dict[str, str]:
    return {word: name for name, language in LANGUAGES.items() for word in language.interpreters}
