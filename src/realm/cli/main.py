"""Entry point of `realm`: options, commands, and the one place that turns errors into exit codes."""

from __future__ import annotations

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
from realm.core.errors import RealmError
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
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: list[str]) -> int:
    """Run one command and return its exit code."""
    options, rest = Options(), argv
    try:
        options, rest = extract(argv)
        if rest[:1] == ["--version"]:
            sys.stdout.write(f"realm {VERSION}\n")
            return 0
        logging.basicConfig(
            level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
        )
        result = app(args=rest, prog_name="realm", standalone_mode=False, obj=options)
        return int(result) if isinstance(result, int) else 0
    except RealmError as error:
        if options.debug:
            raise
        print_error(error, as_json=options.json)
        return error.exit_code
    except TyperException as error:
        message = error.format_message()
        if message.startswith("Usage:"):  # a group without a command shows its help
            sys.stderr.write(message + "\n")
        else:
            print_error(misuse(error, get_command(app), rest), as_json=options.json)
        return 2
    except typer.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # the reader left, as with `| head`
        return 0


if __name__ == "__main__":
    main()
