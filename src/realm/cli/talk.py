"""`realm chat` and `realm ask`: talk to a checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from realm.cli.options import Options
from realm.cli.output import json_array, print_json, print_line
from realm.core.text import printable

if TYPE_CHECKING:
    from realm.flows.chat import Conversation

MODEL = typer.Argument(None, help="HERO@champion, HERO@latest, HERO@STEP, a version or a hash.")
TEMPERATURE = typer.Option(0.0, min=0.0, max=2.0, help="0 gives the likeliest answer.")
SEED = typer.Option(0, help="Repeats a sampled answer.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("chat")(chat)
    app.command("ask")(ask)


def chat(
    ctx: typer.Context, model: str | None = MODEL, temperature: float = TEMPERATURE, seed: int = SEED
) -> None:
    """Talk to a model on the terminal. It is loaded into this process; leave with Ctrl-D.

    Example: realm chat dio@champion
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        if sys.stdin.isatty():
            sys.stderr.write("loading …\n")
        conversation = realm.chat(model)
        if sys.stdin.isatty():
            sys.stderr.write(f"{conversation.checkpoint.name} · Ctrl-D leaves\n")
        if options.json:
            with json_array() as item:
                for question in _questions():
                    item(_answered(conversation, question, temperature, seed))
            return
        for question in _questions():
            _speak(conversation, question, temperature, seed)


def ask(
    ctx: typer.Context,
    question: str = typer.Argument(help="What to ask."),
    model: str | None = typer.Option(
        None, "--model", help="Which model; without it the champion, else the latest."
    ),
    temperature: float = TEMPERATURE,
    seed: int = SEED,
) -> None:
    """Ask one question and print the answer.

    Example: realm ask "Compute: add(①①⓪⓪⓪⓪, ①⓪⓪⓪⓪⓪)" --model dio@champion
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        conversation = realm.chat(model)
        if options.json:
            print_json(_answered(conversation, question, temperature, seed))
        else:
            _speak(conversation, question, temperature, seed)


def _questions() -> Iterator[str]:
    while True:
        try:
            question = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if question:
            yield question


def _answered(conversation: Conversation, question: str, temperature: float, seed: int) -> dict[str, object]:
    answer = conversation.ask(question, temperature=temperature, seed=seed)
    checkpoint = conversation.checkpoint
    return {
        "question": question,
        "answer": answer,
        "model": {"name": checkpoint.name, "hash": checkpoint.hash},
    }


def _speak(conversation: Conversation, question: str, temperature: float, seed: int) -> None:
    for piece in conversation.stream(question, temperature=temperature, seed=seed):
        sys.stdout.write(printable(piece, limit=len(piece) + 1))
        sys.stdout.flush()
    print_line("")
