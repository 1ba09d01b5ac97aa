"""`realm skill`: drills looked at, graded and served. They need no realm and write nothing but a token."""

from __future__ import annotations

import os
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from realm.cli.curriculum import report
from realm.cli.groups import Commands, add_group
from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table
from realm.cli.sparring import spar

if TYPE_CHECKING:
    from realm.core.events import Interval
    from realm.flows.samples import GradeReport, Split

_NAME = typer.Argument(help="A skill's kind, the path of a YAML file, or the URL of a skill server.")
_OPTION = typer.Option([], "--option", help="A skill option, such as digit_order=lsb; repeatable.")
_SHOWN = 20
_LONG = 10_000_000
"""Counts from this on are shown with two digits and a power of ten."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands: Commands = {
        "list": list_skills,
        "show": show,
        "sample": sample,
        "grade": grade,
        "report": report,
        "spar": spar,
        "serve": serve,
    }
    add_group(app, "skill", "Look at skills and their drills, grade answers, serve them.", commands)


def list_skills(ctx: typer.Context) -> None:
    """List the skills that are installed, and the kinds that need a file, a server or a dataset.

    Example: realm skill list
    """
    from realm.skills.skill import SKILLS, needs

    found: list[dict[str, Any]] = []
    for name in SKILLS.names():
        if wanted := needs(name):
            found.append({"name": name, "needs": wanted})
            continue
        s = SKILLS.build(name)
        levels, primitives = len(s.level_numbers()), len(s.primitives())
        about = {"title": s.title, "version": s.version, "levels": levels, "primitives": primitives}
        found.append({"name": s.name, **about, "needs": ()})
    options: Options = ctx.obj
    if options.json:
        print_json(found)
        return
    print_table(
        ["skill", "title", "version", "levels", "primitives"],
        [
            (s["name"], s["title"], s["version"], s["levels"], s["primitives"])
            for s in found
            if not s["needs"]
        ],
        empty="No skill is installed.",
    )
    for each in found:
        if each["needs"]:
            print_line(f"{each['name']}: a kind of skill that needs {', '.join(each['needs'])}")


def show(ctx: typer.Context, name: str = _NAME, config: list[str] = _OPTION) -> None:
    """Show a skill's levels: how many problems each primitive has and what can be tested.

    Example: realm skill show bin
    """
    from realm.core.text import printable
    from realm.flows.samples import OfferedSkill, skill_of

    skill = skill_of(name, config)
    about, levels = OfferedSkill(skill).info(), skill.levels()
    options: Options = ctx.obj
    if options.json:
        document = {"name": skill.name, "title": skill.title, "version": skill.version}
        more = {"description": about.description, "category": about.category, "tags": about.tags}
        print_json({**document, **more, "primitives": skill.primitives(), "levels": levels})
        return
    print_line(printable(f"{skill.title} ({skill.name} {skill.version}) {about.description}".rstrip(), 400))
    for level in levels:
        note = "" if level.testable else "  (too small to test)"
        print_line(f"level {level.level} {printable(level.name)}{note}")
        for p in level.primitives:
            note = "" if p.testable else "  not testable here"
            problems, heldout = _size(p.problems, exact=p.counted), _size(p.heldout, exact=p.counted)
            print_line(f"  {p.name:28} {problems:>15} problems, {heldout:>15} held out{note}")


def sample(
    ctx: typer.Context,
    name: str = _NAME,
    level: int = typer.Option(1, min=0, help="The level."),
    count: int = typer.Option(5, min=1, max=100_000, help="How many rows."),
    seed: int = typer.Option(0, help="Another seed gives other rows."),
    split: str = typer.Option("train", help="train, or eval: held-out problems, which must not be trained."),
    config: list[str] = _OPTION,
) -> None:
    """Print different questions of a skill with their answers; without --json one line each.

    An id is an address: with the same options the same problem is made from it again. Where a level has
    fewer, fewer rows come, and a warning says so.

    Example: realm skill sample bin --level 3 --count 3 --option digit_order=lsb
    """
    from realm.flows.samples import rows, skill_of
    from realm.flows.samples import sample as draw

    skill, side = skill_of(name, config), _split(split)
    found = rows(draw(skill, level, count, seed=seed, split=side), side)
    if len(found) < count:
        # Training rows differ in their words; the wordings of one problem are several questions.
        what = "training questions" if side == "train" else "held-out problems"
        sys.stderr.write(
            f"realm: warning: level {level} of {skill.name} gave {len(found)} different {what}, not {count}\n"
        )
    options: Options = ctx.obj
    if options.json:
        print_json(found)
        return
    for row in found:
        print_line(row.model_dump_json())


def grade(
    ctx: typer.Context,
    name: str = _NAME,
    file: Path = typer.Argument(help="A .jsonl file of {id or prompt, answer} rows."),
    config: list[str] = _OPTION,
) -> int:
    """Grade a file of answers, each to the problem that its id or its prompt names.

    Leaves with 1 where rows cannot be graded; a wrong answer is no such row.

    Example: realm skill grade bin answers.jsonl
    """
    from realm.flows.samples import grade_file, skill_of

    report = grade_file(skill_of(name, config), file)
    for row in report.bad[:_SHOWN]:
        sys.stderr.write(f"realm: {file}:{row.line}: {row.reason}\n")
    if len(report.bad) > _SHOWN:
        sys.stderr.write(f"realm: {len(report.bad) - _SHOWN} more rows cannot be graded\n")
    options: Options = ctx.obj
    if options.json:
        print_json(report)
    else:
        _print_graded(report)
    return 1 if report.bad else 0


def serve(
    ctx: typer.Context,
    name: str = _NAME,
    port: int = typer.Option(8090, min=0, max=65535, help="0 chooses a free one."),
    host: str = typer.Option("127.0.0.1", help="The address to bind to."),
    behind_proxy: bool = typer.Option(
        False, "--behind-proxy", help="A proxy with TLS stands before it; needed to bind elsewhere."
    ),
    allow_host: list[str] = typer.Option([], help="Another Host header that names this server; repeatable."),
    token_file: Path | None = typer.Option(None, help="Where the token is kept; made where there is none."),
    config: list[str] = _OPTION,
) -> None:
    """Serve a skill to other programs through the Skill API, until Ctrl-C.

    Every request needs the token: `Authorization: Bearer TOKEN`. It is printed when it is made and kept in
    a file of mode 0600: in the realm's .realm/token, else in ~/.local/state/realm/token.

    Example: realm skill serve bin --port 8090
    """
    from realm.flows.samples import OfferedSkill, skill_of
    from realm.http.server import Bounds, Guard, bind, hosts_of, require_serve_extra, run, token_at
    from realm.http.skill_server import skill_app

    require_serve_extra()
    skill, path = skill_of(name, config), token_file or _token_file(ctx.obj)
    token, made = token_at(path)
    with bind(host, port, behind_proxy=behind_proxy) as bound:
        hosts = hosts_of(bound, tuple(allow_host))
        url = f"http://{host if ':' not in host else f'[{host}]'}:{bound.getsockname()[1]}"
        options: Options = ctx.obj
        if options.json:
            print_json({"skill": skill.name, "url": url, "token_file": str(path.absolute())})
        else:
            print_line(f"{skill.name} is served at {url}")
            print_line(f"the token is kept in {path}" + (f": {token}" if made else ""))
        sys.stdout.flush()
        run(skill_app(OfferedSkill(skill)), bound, lambda app: Guard(app, token, hosts, Bounds()))


def _split(text: str) -> Split:
    from realm.core.errors import UsageError

    if text == "train":
        return "train"
    if text == "eval":
        return "eval"
    raise UsageError(f"--split {text}: there is no such side", hint="train or eval")


def _token_file(options: Options) -> Path:
    from realm.core.errors import NotFoundError
    from realm.flows.home import find_home

    try:
        return find_home(options.home).private / "token"
    except NotFoundError:
        if options.home is not None:
            raise
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "realm" / "token"


def _print_graded(report: GradeReport) -> None:
    wrong = [row for row in report.rows if not row.correct]
    print_table(
        ["primitive", "right", "of", "share", "95 % interval"],
        [
            (name, found.correct, found.total, f"{found.correct / found.total:.0%}", _between(found))
            for name, found in (*report.primitives.items(), ("all", report.overall))
            if found.total
        ],
        empty="No row could be graded.",
    )
    for row in wrong[:_SHOWN]:
        print_line(f"{report.file}:{row.line}: score {row.score:.2f}, expected {_short(row.expected)}")
    if len(wrong) > _SHOWN:
        print_line(f"{len(wrong) - _SHOWN} more wrong answers")


def _size(count: int, *, exact: bool) -> str:
    """Return a count as a person reads it: `4,096`, `about 1.2e41`."""
    short = f"{count:,}" if count < _LONG else f"{Decimal(count):.1e}".replace("e+", "e")
    return short if exact else f"about {short}"


def _between(found: Interval) -> str:
    return f"{found.low:.0%} to {found.high:.0%}"


def _short(text: str) -> str:
    from realm.core.text import printable

    return printable(text, 80)
