"""`realm skill`: drills looked at by hand. They write nothing."""

from __future__ import annotations

import typer

from realm.cli.groups import Commands, add_group
from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table


def register(app: typer.Typer) -> None:
    """Add the commands."""
    looks: Commands = {"list": list_skills, "show": show, "sample": sample}
    add_group(app, "skill", "Look at skills and their drills.", looks)


def list_skills(ctx: typer.Context) -> None:
    """List the skills that are installed. Needs no realm.

    Example: realm skill list
    """
    from realm.skills.skill import SKILLS

    skills = [SKILLS.build(name) for name in SKILLS.names()]
    options: Options = ctx.obj
    if options.json:
        print_json(
            [
                {"name": s.name, "title": s.title, "version": s.version, "levels": len(s.levels())}
                for s in skills
            ]
        )
        return
    print_table(
        ["skill", "title", "version", "levels", "primitives"],
        [(s.name, s.title, s.version, len(s.levels()), len(s.primitives())) for s in skills],
        empty="No skill is installed.",
    )


def show(ctx: typer.Context, name: str = typer.Argument(help="The skill.")) -> None:
    """Show a skill's levels: how many problems each primitive has and what can be tested.

    Example: realm skill show bin
    """
    from realm.skills.skill import SKILLS

    skill = SKILLS.build(name)
    options: Options = ctx.obj
    if options.json:
        print_json(
            {
                "name": skill.name,
                "version": skill.version,
                "primitives": skill.primitives(),
                "levels": skill.levels(),
            }
        )
        return
    for level in skill.levels():
        print_line(f"level {level.level} {level.name}" + ("" if level.testable else "  (too small to test)"))
        for p in level.primitives:
            note = "" if p.testable else "  not testable here"
            print_line(f"  {p.name:24} {p.problems:>8} problems, {p.heldout:>7} held out{note}")


def sample(
    ctx: typer.Context,
    name: str = typer.Argument(help="The skill."),
    level: int = typer.Option(1, min=1, help="The level."),
    count: int = typer.Option(5, min=1, max=100_000, help="How many rows."),
    seed: int = typer.Option(0, help="Another seed gives other rows."),
    config: list[str] = typer.Option([], "--option", help="A skill option, such as digit_order=lsb."),
) -> None:
    """Print training rows of a skill, one JSON line each. Needs no realm.

    Example: realm skill sample bin --level 3 --count 3 --option digit_order=lsb
    """
    from realm.core.config import override
    from realm.skills.skill import SKILLS

    skill = SKILLS.build(override({"kind": name}, config))
    weights = {p.name: 1.0 for p in skill.level(level).primitives}
    rows = [row.example(skill.name) for row in skill.drills(level, count, weights=weights, seed=seed)]
    options: Options = ctx.obj
    if options.json:
        print_json(rows)
        return
    for row in rows:
        print_line(row.model_dump_json(exclude_none=True))
