"""String craft: turning, searching and sorting letters."""

from __future__ import annotations

from string import ascii_lowercase
from typing import Literal

from realm.skills.passive.skill import PassiveConfig, PassiveSkill
from realm.skills.passive.spaces import Arranged, Joined, Mapped, Numbers, Operands, Product, Rows, Space
from realm.skills.passive.table import Question, primitive

_LENGTHS = {1: 4, 2: 6, 3: 8, 4: 10, 5: 14}
_PIECES = {1: 2, 2: 2, 3: 3, 4: 3, 5: 4}
"""Length of the part that is looked for."""

_TEXTS: dict[int, Space] = {n: Joined(Rows(ascii_lowercase, length)) for n, length in _LENGTHS.items()}


def _palindromes(length: int) -> Space:
    half = (length + 1) // 2
    return Mapped(
        Joined(Rows(ascii_lowercase, half)),
        lambda text: (text + text[: length - half][::-1],),
        lambda text: (str(text)[:half],),
        arity=1,
    )


def _broken(length: int) -> Space:
    """Palindromes with one letter of the second half moved on by 1 to 25."""
    half = (length + 1) // 2

    def there(text: str, place: int, step: int) -> Operands:
        whole = [*text, *text[: length - half][::-1]]
        whole[-1 - place] = ascii_lowercase[(ascii_lowercase.index(text[place]) + step) % 26]
        return ("".join(whole),)

    def back(text: str) -> Operands | None:
        text = str(text)
        wrong = [n for n in range(length // 2) if len(text) == length and text[n] != text[-1 - n]]
        if len(wrong) != 1 or not set(text) <= set(ascii_lowercase):
            return None
        one, other = (ascii_lowercase.index(text[n]) for n in (wrong[0], -1 - wrong[0]))
        return text[:half], wrong[0], (other - one) % 26

    places = Numbers(0, length // 2 - 1)
    return Mapped(Product(Joined(Rows(ascii_lowercase, half)), places, Numbers(1, 25)), there, back, arity=1)


def _contained(length: int, piece: int) -> Space:
    """A part and a text of different letters that has it, so that the part occurs once."""
    return Mapped(
        Product(Joined(Arranged(ascii_lowercase, length)), Numbers(0, length - piece)),
        lambda text, start: (text[start : start + piece], text),
        lambda part, text: (text, str(text).find(str(part))),
    )


def _missing(length: int, piece: int) -> Space:
    """A part whose last letter stands elsewhere in the text, so that the part does not occur."""

    def there(text: str, start: int, other: int) -> Operands:
        elsewhere = text[:start] + text[start + piece :]
        return text[start : start + piece - 1] + elsewhere[other], text

    def back(part: str, text: str) -> Operands | None:
        part, text = str(part), str(text)
        start = text.find(part[:-1])
        elsewhere = text[:start] + text[start + piece :]
        if start < 0 or start > length - piece:
            return None
        return text, start, elsewhere.find(part[-1:])

    places = Product(Numbers(0, length - piece), Numbers(0, length - piece - 1))
    return Mapped(Product(Joined(Arranged(ascii_lowercase, length)), places), there, back)


def _palindrome_check(spaces: dict[int, Space]) -> Question:
    return Question(
        "palindrome_check",
        (
            "Is {0} a palindrome? Answer yes or no.",
            "Does {0} read the same in both directions? Answer yes or no.",
        ),
        spaces,
        lambda text: "yes" if text == text[::-1] else "no",
    )


def _substring_check(spaces: dict[int, Space]) -> Question:
    return Question(
        "substring_check",
        (
            "Is {0} a part of {1}? Answer yes or no.",
            "Does {1} contain {0} in one piece? Answer yes or no.",
        ),
        spaces,
        lambda part, text: "yes" if part in text else "no",
    )


class StringCraft(PassiveSkill):
    """Drill and grade work on letters."""

    class Config(PassiveConfig):
        """Options of the suite."""

        kind: Literal["string_craft"] = "string_craft"

    name = "string_craft"
    title = "String craft"
    alphabet = ascii_lowercase
    steps = tuple(f"{length} letters" for length in _LENGTHS.values())
    table = (
        primitive(
            ("reverse_string", "Reversal", "the letters of a text backwards"),
            3,
            (
                Question(
                    "reverse_string",
                    ("Write {0} backwards.", "Reverse the letters of {0}."),
                    _TEXTS,
                    lambda text: text[::-1],
                ),
            ),
            "string",
        ),
        primitive(
            ("palindrome_check", "Palindromes", "whether a text reads the same backwards"),
            3,
            (
                _palindrome_check({n: _palindromes(length) for n, length in _LENGTHS.items()}),
                _palindrome_check({n: _broken(length) for n, length in _LENGTHS.items()}),
            ),
            "string",
        ),
        primitive(
            ("substring_check", "Parts", "whether a text contains another in one piece"),
            3,
            (
                _substring_check({n: _contained(length, _PIECES[n]) for n, length in _LENGTHS.items()}),
                _substring_check({n: _missing(length, _PIECES[n]) for n, length in _LENGTHS.items()}),
            ),
            "string",
        ),
        primitive(
            ("sort_letters", "Sorting", "the letters of a text in the order of the alphabet"),
            4,
            (
                Question(
                    "sort_letters",
                    (
                        "Sort the letters of {0} from a to z.",
                        "Write the letters of {0} in alphabetical order.",
                    ),
                    _TEXTS,
                    lambda text: "".join(sorted(text)),
                ),
            ),
            "string",
        ),
    )
