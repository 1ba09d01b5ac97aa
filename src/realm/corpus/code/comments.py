"""Doc comments: from the marks of a language to plain prose, and which comments say nothing."""

from __future__ import annotations

import re

_LEADERS = {
    "c": ("/**<", "/**", "/*!", "/*", "///<", "///", "//!", "//"),
    "cpp": ("/**<", "/**", "/*!", "/*", "///<", "///", "//!", "//"),
    "go": ("/*", "//"),
    "lua": ("--[[", "---", "--"),
    "gdscript": ("##", "#"),
    "python": ("#",),
    "bash": ("#",),
    "toml": ("#",),
}
_BLOCK_ENDS = ("**/", "*/", "]]--", "]]")
_DOXYGEN = re.compile(
    r"[@\\](brief|short|details|note|param|tparam|returns?|retval|see|sa|deprecated|since)\b"
)
_DOXYGEN_CODE = re.compile(r"^[ \t]*[@\\](?:end)?(?:code|verbatim)\b[^\n]*$", re.MULTILINE)
_DOXYGEN_GROUP = re.compile(r"^[ \t]*[@\\]ingroup\b[^\n]*\n?", re.MULTILINE)
_DOXYGEN_WORD = re.compile(r"[@\\](?:p|c|a|ref)[ ]+([\w:.()~]+)")
_SPHINX = re.compile(
    r"^[ \t]*:(param|returns?)(?:[ ][\w\[\], ]{0,40}?)??(?:[ ](\w+))?:[ \t]*(\S.*)$", re.MULTILINE
)
_ARGUMENT = re.compile(r"(?:\[\w+(?:,\w+)?\][ \t]*)?([\w.]+)[ \t]*[:-]?[ \t]*(.*)", re.DOTALL)
_BBCODE = re.compile(r"\[(?:param|member|method|signal|enum|constant|annotation)[ ]([\w.@]+)\]")
_BBCODE_WORD = re.compile(r"\[/?(?:b|i|u|code|codeblock|url|kbd)\]")
_NOT_PROSE = re.compile(
    r"\bcopyright\b|\blicen[cs]ed under\b|\bunder the terms of\b|spdx-|all rights reserved"
    r"|[@\\]file\b|[@\\](?:defgroup|addtogroup|\{|\})|clang-format|noqa|eslint|nolint",
    re.IGNORECASE,
)
_REGION = re.compile(
    r"[ \t#]*(?:end|#end)?(?:region|reigon)\b(?:[ \t]*#.*|[ \t]+[A-Z0-9 _/&-]+)?[ \t]*", re.MULTILINE
)
_RULE = r"[-=*#_~+─━═/]"
_TITLE = re.compile(rf"^[ \t]*{_RULE}{{2,}}[ \t]*\S.{{0,80}}?[ \t]*{_RULE}{{2,}}[ \t]*$")
_ONLY_RULE = re.compile(rf"^[ \t]*{_RULE}{{6,}}[ \t]*$")
_TITLE_WORDS = 8
_SEVERAL = re.compile(
    r"(?:all )?(?:the following|these|both)\b[\w ]{0,40}\b(?:functions|methods|callbacks)\b", re.IGNORECASE
)
_REMARK = re.compile(
    r"(?:isn't|aren't|don't|doesn't|didn't|won't|not|created by|copied|borrowed|taken from|stolen|based on|"
    r"same as|ditto|see|yes|no|hmm|ugly|dirty|workaround|temporary|deprecated)\b",
    re.IGNORECASE,
)
_TEMPLATE = re.compile(
    r"Called when the node enters the scene tree for the first time\.?"
    r"|Called every frame\. '?_?delta'? is the elapsed time since the previous frame\.?"
)
"""Comments that an editor writes above empty functions, and that say nothing of what was put in."""
_TO_DO = re.compile(r"\s*(?:todo|fixme|xxx|hack)\b", re.IGNORECASE)
_CODE_LINE = re.compile(r"[;{}]\s*$|^\s*(?:if|for|while|return|var|local|func|def)\b.*[:({;]\s*$|^\s*#\w+")
_WORD = re.compile(r"[^\W\d_]{2,}")
_FEWEST_WORDS = 3
_URL = re.compile(r"\bhttps?://\S+")
_PARAGRAPH = re.compile(r"\n{3,}")


def prose(comment: str, language: str) -> str:
    """Return what a comment says, as plain text; empty where it says nothing about its code.

    Nothing is said by licences, notes to file tools, rules, titles of chapters, commented-out code, notes
    of work to do, what editors write, and by fewer than three words.
    """
    return spoken("\n".join(_below_titles([_bare(line, language) for line in comment.split("\n")])))


def spoken(text: str) -> str:
    """Return a docstring or bare comment as plain text; empty where it says nothing."""
    lines = [line.rstrip() for line in text.split("\n")]
    margin = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
    text = "\n".join([lines[0].lstrip(), *(line[margin:] for line in lines[1:])]).strip()
    text = _TEMPLATE.sub("", text).strip()
    if _NOT_PROSE.search(text) or _TO_DO.match(text) or _is_code(text):
        return ""
    if _SEVERAL.match(text) or _REMARK.match(text) or len(_WORD.findall(_URL.sub("", text))) < _FEWEST_WORDS:
        return ""
    return _PARAGRAPH.sub("\n\n", _without_marks(text)).strip()


def is_region(line: str) -> bool:
    """Say whether a bare comment only tells an editor what to fold."""
    return _REGION.fullmatch(line) is not None


def _below_titles(lines: list[str]) -> list[str]:
    """Leave out rules, and titles of chapters with all that stands above them."""
    kept: list[str] = []
    rules: list[int] = []
    for line in lines:
        if _ONLY_RULE.match(line):
            # A short line between two rules is a title.
            if rules and len(_WORD.findall(" ".join(kept[rules[-1] :]))) <= _TITLE_WORDS:
                kept.clear()
            rules.append(len(kept))
        elif is_region(line) or _TITLE.match(line):
            kept.clear()
        else:
            kept.append(line if any(char.isalnum() for char in line) or not line.strip() else "")
    return kept


def _bare(line: str, language: str) -> str:
    line = line.strip()
    leader = next((mark for mark in _LEADERS.get(language, ()) if line.startswith(mark)), "")
    line = line[len(leader) :]
    for end in _BLOCK_ENDS if language in ("c", "cpp", "go", "lua") else ():
        line = line.removesuffix(end)
    if not leader and line.startswith("*"):
        line = line.lstrip("*")
    return line.removeprefix(" ")


def _is_code(text: str) -> bool:
    lines = [line for line in text.split("\n") if line.strip()]
    return 2 * sum(bool(_CODE_LINE.search(line)) for line in lines) > len(lines)


def _without_marks(text: str) -> str:
    """Write the commands of Doxygen and Sphinx and the tags of Godot as words."""
    text = _BBCODE_WORD.sub("", _BBCODE.sub(r"`\1`", text.replace("[br]", "\n")))
    text = _SPHINX.sub(_field, text)
    text = _DOXYGEN_CODE.sub("```", _DOXYGEN_GROUP.sub("", text))
    text = _DOXYGEN_WORD.sub(r"`\1`", text)
    if not _DOXYGEN.search(text):
        return text
    return "\n".join(line for line in map(_command, _commands(text)) if line is not None)


def _field(found: re.Match[str]) -> str:
    name, said = found.group(2), found.group(3)
    return f"- `{name}`: {said}" if name else f"Returns: {said}"


def _commands(text: str) -> list[str]:
    """Cut a text before every line that begins with a command."""
    parts: list[str] = []
    for line in text.split("\n"):
        if not parts or _DOXYGEN.match(line.lstrip()):
            parts.append(line.lstrip() if _DOXYGEN.match(line.lstrip()) else line)
        else:
            parts[-1] += "\n" + line
    return parts


def _command(part: str) -> str | None:
    found = _DOXYGEN.match(part)
    if found is None:
        return _DOXYGEN.sub("", part)
    name, rest = found.group(1), part[found.end() :].strip()
    if name in ("see", "sa"):
        return None
    if name in ("param", "tparam", "retval"):
        argument = _ARGUMENT.match(rest)
        if argument is None or not argument.group(2).strip():
            return None
        said = " ".join(argument.group(2).split())
        return (
            f"Returns `{argument.group(1)}`: {said}"
            if name == "retval"
            else f"- `{argument.group(1)}`: {said}"
        )
    if name.startswith("return"):
        return f"Returns: {' '.join(rest.split())}" if rest else None
    return {"deprecated": "Deprecated: ", "note": "Note: ", "since": "Since "}.get(name, "") + rest
