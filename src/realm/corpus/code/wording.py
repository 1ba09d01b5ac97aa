"""The questions that pairs are asked with: several of each kind, chosen by hash."""

from __future__ import annotations

from realm.core.seeds import seed

QUESTIONS: dict[str, tuple[str, ...]] = {
    "doc_to_body": (
        "Write the {language} function `{name}`. This is what it is to do:\n\n{doc}",
        "Implement `{name}` in {language} so that this description holds:\n\n{doc}",
        "Here is the documentation of the {language} function `{name}`:\n\n{doc}\n\nWrite its code.",
        "I need `{name}` in {language}. Its description:\n\n{doc}",
        "{doc}\n\nWrite this as a {language} function named `{name}`.",
    ),
    "section_doc_to_body": (
        "Write the {language} section `{name}`. Its comment says:\n\n{doc}",
        "Which {language} goes under `{name}`, given this comment?\n\n{doc}",
        "{doc}\n\nWrite the {language} section `{name}` for that.",
    ),
    "signature_to_body": (
        "Complete this {language} function from `{path}`:\n\n{signature}",
        "Given this signature, write the whole {language} function:\n\n{signature}",
        "How would you implement this in {language}?\n\n{signature}",
        "Fill in the body of this {language} function:\n\n{signature}",
        "The file `{path}` declares the following. Write the implementation:\n\n{signature}",
    ),
    "explain": (
        "What does this {language} function do?\n\n{code}",
        "Describe `{name}`:\n\n{code}",
        "Write a doc comment, as plain text, for this {language} function:\n\n{code}",
        "Summarise what the following {language} code is for.\n\n{code}",
        "Explain this function from `{path}`:\n\n{code}",
    ),
    "fill_in": (
        "Part of this {language} code is missing where it says `{gap}`. Write only that part.\n\n{code}",
        "Replace `{gap}` in the following {language}. Answer with what belongs there alone.\n\n{code}",
        "Which lines belong where `{gap}` stands in `{name}`?\n\n{code}",
        "Fill the gap marked `{gap}` in this excerpt of `{path}`:\n\n{code}",
    ),
    "usage": (
        "How is `{call}` used in {language}? Show an example that would fit into `{path}`.",
        "Show me {language} code that uses `{call}`, as in `{path}`.",
        "I want to use `{call}` in `{path}`. What does a working example look like in {language}?",
        "Give an example of a {language} function for `{path}` that calls `{call}`.",
    ),
    "find_definition": (
        "This function from `{path}` calls `{call}`:\n\n{code}\n\n"
        "`{other}` begins what it needs like this. Write it whole.\n\n{signature}",
        "Write the definition of `{call}` for `{other}`:\n\n{signature}\n\n"
        "It is called here, in `{path}`:\n\n{code}",
        "The following {language} code needs `{call}` from another file, `{other}`.\n\n{code}\n\n"
        "Complete its definition:\n\n{signature}",
    ),
    "use_definition": (
        "`{other}` defines `{call}`:\n\n{definition}\n\nUse it to implement this in `{path}`:\n\n{signature}",
        "Given this definition from another file,\n\n{definition}\n\nwrite this {language}:\n\n{signature}",
        "Write the function below; it calls `{call}`.\n\n{signature}\n\n`{call}` is:\n\n{definition}",
    ),
    "from_header": (
        "`{other}` declares `{name}` and says:\n\n{doc}\n\n{signature}\n\nImplement it in `{path}`.",
        "Implement this documented {language} function:\n\n{doc}\n\n{signature}",
        "Write the code behind this declaration.\n\n{signature}\n\nIts documentation:\n\n{doc}",
    ),
    "markdown": (
        "{heading}: {prose}\n\nShow the {language} for this.",
        "From the manual, under “{heading}”:\n\n{prose}\n\nGive the {language} code that belongs here.",
        "{prose}\n\nHow does that look in {language}? (Topic: {heading})",
        "Write a {language} example for “{heading}”. Background:\n\n{prose}",
    ),
}
"""By kind of question; `{gap}` is the marked gap."""


def question(kind: str, turn: int, place: tuple[str, str, int], **words: str) -> str:
    """Return one wording with its words filled in.

    `place` (source, path, line) chooses the wording; the turns 0, 1, … at one place have different ones
    until all are used.
    """
    wordings = QUESTIONS[kind]
    chosen = wordings[(seed("code/wording", kind, *place) + turn) % len(wordings)]
    return chosen.format(**words)
