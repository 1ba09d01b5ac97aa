"""Entry point of `realm`: options, commands, and the one place that turns errors into exit codes."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from realm.cli import (
    bench,
    curriculum,
    data,
    drift,
    estimate,
    evaluation,
    gate,
    lab,
    ledger,
    play,
    queue,
    runs,
    skills,
    talk,
    train,
)
from realm.cli.misuse import misuse
from realm.cli.options import Options, extract
from realm.cli.output import print_error
from realm.cli.streams import STANDARD_OUTPUT, prepare_output
from realm.core.errors import RealmError, StorageError
from realm.core.text import printable
from realm.core.version import VERSION

COMMON = """
Common options, before or after any command:

--home DIR     the realm to use (else $REALM_HOME, else the nearest parent with a realm.yaml)

--json         write exactly one JSON document to standard output

--set a.b=1    override a setting of realm.yaml for this call

--debug        show a traceback when something fails
"""

app = typer.Typer(
    name="realm",
    help="Raise a language model that keeps getting better at your work, on your own hardware.\n\n"
    "Example: realm play\n" + COMMON,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for room in (
    lab,
    play,
    train,
    estimate,
    data,
    queue,
    runs,
    skills,
    curriculum,
    evaluation,
    gate,
    drift,
    ledger,
    talk,
    bench,
):
    room.register(app)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    prepare_output()
    gc.set_threshold(20_000)  # imports make much and drop little: looking for it takes a sixth of the time
    code = run(list(sys.argv[1:] if argv is None else argv))
    gc.freeze()  # what is left needs no last look for cycles
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run one command and return its exit code."""
    options = Options()
    try:
        options, rest = extract(argv)
        code = _run(options, rest)
        sys.stdout.flush()
    except RealmError as error:
        if options.debug:
            raise
        print_error(error, as_json=options.json)
        return error.exit_code
    except OSError as error:
        if isinstance(error, BrokenPipeError) and error.filename == STANDARD_OUTPUT:
            return 0  # the reader left, as with `| head`
        return _refused(error, options)
    except SystemExit as left:
        # Rich leaves the process by itself where a reader left while it was writing.
        if not isinstance(left.__context__, BrokenPipeError):
            raise
        return 0
    return code


def _run(options: Options, rest: list[str]) -> int:
    if rest[:1] == ["--version"]:
        sys.stdout.write(f"realm {VERSION}\n")
        return 0
    logging.basicConfig(
        level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    command = get_command(app)
    try:
        # The parser's own `main` would leave the process with 1 where a reader left.
        with command.make_context("realm", rest, obj=options) as context:
            result = command.invoke(context)
        return int(result) if isinstance(result, int) else 0
    except TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a group without a command shows its help
            sys.stderr.write(message + "\n")
        else:
            print_error(misuse(error, command, rest), as_json=options.json)
        return 2
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort) as left:
        for note in getattr(left, "__notes__", ()):  # of whoever knows what becomes of the work
            sys.stderr.write(printable(note, limit=len(note)) + "\n")
        return 130


def _refused(error: OSError, options: Options) -> int:
    """Tell what the system refused where no command had words of its own for it."""
    if options.debug:
        raise error
    where = f"{error.filename}: " if error.filename is not None else ""
    told = StorageError(f"{where}{error.strerror or error}", hint="--debug shows what was being done")
    print_error(told, as_json=options.json)
    return told.exit_code


if __name__ == "__main__":
    main()
