"""`realm curriculum`: where the hero stands, what comes next, and what works better."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from realm.cli.groups import Commands, add_group
from realm.cli.options import Options
from realm.cli.output import print_json, print_line, print_table
from realm.cli.play import show_events
from realm.core.text import printable

if TYPE_CHECKING:
    from realm.core.events import LevelReviewed, LevelSet, TrialDecided
    from realm.flows.curriculum import Curriculum, SkillStanding
    from realm.flows.report import SkillReport
    from realm.flows.trial import Trial


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands: Commands = {"show": show, "set": set_settings, "presets": presets, "trial": trial}
    add_group(app, "curriculum", "See and steer what is drilled.", commands)


def show(ctx: typer.Context) -> None:
    """Show levels, passes, weakness, the rows of the next drills, and what is missing to advance.

    Example: realm curriculum show --json
    """
    from realm.flows.curriculum import curriculum

    options: Options = ctx.obj
    with options.realm() as realm:
        found = curriculum(realm.lab)
    if options.json:
        print_json(found)
    else:
        _print(found)


def _print(found: Curriculum) -> None:
    print_line(f"{found.hero}: preset {found.preset}, strategy {found.strategy}")
    print_table(
        ["skill", "mastered", "trains", "passes", "newest", "next rows by level", "share"],
        [
            (
                skill.skill if skill.enabled else f"{skill.skill} (off)",
                skill.mastered_level or "-",
                skill.training_level,
                f"{skill.streak} of {skill.needed}",
                _score(skill),
                ", ".join(f"{level}: {rows}" for level, rows in skill.next_rows.items()) or "-",
                f"{skill.share:.0%}",
            )
            for skill in found.skills
        ],
        empty="The hero has no skill. Add one under `skills` in realm.yaml.",
    )
    for skill in found.skills:
        print_line(f"\n{skill.skill}, to advance: {'; '.join(skill.missing)}")
        print_line(f"  errors on training problems: {_errors(skill)}")
        if skill.lost:
            print_line(f"  lost, and repeated more: level {', '.join(map(str, skill.lost))}")
    for left_out in found.left_out:
        print_line(f"\n{left_out.skill} is left out: {left_out.reason}")
    for event in found.news:
        print_line(f"\n{event.at[:16]} {_news(event)}")


def _errors(skill: SkillStanding) -> str:
    measured = [f"{name} {share:.2f}" for name, share in skill.weakness if share is not None]
    unknown = [name for name, share in skill.weakness if share is None]
    if not measured:
        return "not measured yet"
    return ", ".join(measured) + (f"; not measured: {', '.join(unknown)}" if unknown else "")


def _score(skill: SkillStanding) -> str:
    found = skill.newest
    if found is None or not found.total:
        return "-"
    return f"{found.correct / found.total:.3f} ({found.low:.3f} – {found.high:.3f})"


def _news(event: LevelReviewed | LevelSet) -> str:
    if event.kind == "level_set":
        reason = printable(event.reason, 400)
        return f"{event.skill} set from level {event.before} to {event.level}: {reason}"
    share = event.pooled.correct / max(1, event.pooled.total)
    what = f"{event.skill} level {event.level} {event.change} at step {event.hero_step} ({share:.3f})"
    return f"{what}; {event.consequence}"


def presets(ctx: typer.Context) -> None:
    """List the presets and strategies. Needs no realm.

    Example: realm curriculum presets
    """
    from realm.skills.curriculum.presets import PRESETS
    from realm.skills.curriculum.strategies import STRATEGIES

    options: Options = ctx.obj
    summaries = {name: (strategy.__doc__ or "").split("\n")[0] for name, strategy in STRATEGIES.items()}
    if options.json:
        print_json({"presets": dict(PRESETS), "strategies": summaries})
        return
    for name, preset in PRESETS.items():
        changes = ", ".join(f"{key}: {value}" for key, value in preset.settings.items())
        print_line(f"{name:14} {preset.purpose}" + (f"\n{'':14} ({changes})" if changes else ""))
    print_line("")
    for strategy, what in summaries.items():
        print_line(f"{strategy:14} {what}")


def set_settings(
    ctx: typer.Context,
    skill: str = typer.Argument(None, help="The skill, as realm.yaml calls it."),
    level: int = typer.Option(None, min=1, help="Train at this level from now on; needs --reason."),
    reason: str = typer.Option("", help="Why; kept in the ledger."),
    preset: str = typer.Option(None, help="Print the lines that choose this preset."),
    strategy: str = typer.Option(None, help="Print the lines that choose this strategy."),
    enabled: bool = typer.Option(None, "--on/--off", help="Print the lines that switch the skill."),
    priority: int = typer.Option(None, help="Print the lines that give the skill this priority."),
    weight: float = typer.Option(None, help="Print the lines that give the skill this weight."),
) -> None:
    """Put the hero at a level, or print the lines of realm.yaml that make other settings.

    A level is set at once and recorded with its reason; the lab must be down. Everything else belongs into
    realm.yaml, which is yours and never written: the lines are checked and printed.

    Example: realm curriculum set bin --level 4 --reason "known before"
    """
    options: Options = ctx.obj
    general = {"preset": preset, "strategy": strategy}
    of_skill = {"enabled": enabled, "priority": priority, "weight": weight}
    if level is not None:
        _refuse_mixture([*general.values(), *of_skill.values()], skill, reason)
        _set_level(options, skill, level, reason)
    else:
        _print_settings(options, _given(general), skill, _given(of_skill))


def _refuse_mixture(others: list[object], skill: str | None, reason: str) -> None:
    from realm.core.errors import UsageError

    if skill is None:
        raise UsageError("--level needs a skill", hint='realm curriculum set SKILL --level N --reason "…"')
    if not reason.strip():
        raise UsageError("--level needs a reason", hint='say why with --reason "…"; it is kept in the ledger')
    if any(value is not None for value in others):
        raise UsageError("--level is set at once, other settings are only printed", hint="give --level alone")


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _set_level(options: Options, skill: str, level: int, reason: str) -> None:
    from realm.flows.curriculum import set_level

    with options.realm() as realm:
        event = set_level(realm.lab, skill, level, reason.strip())
    if options.json:
        print_json(event)
    else:
        mastered = (
            f"mastered up to level {event.mastered_level}" if event.mastered_level else "nothing mastered"
        )
        print_line(f"{event.hero} trains {skill} at level {level} now (before: {event.before}), {mastered}.")


def _print_settings(
    options: Options, general: dict[str, Any], skill: str | None, of_skill: dict[str, Any]
) -> None:
    from realm.core.errors import UsageError
    from realm.flows.curriculum import settings_text

    if not general and not of_skill:
        raise UsageError("nothing to set", hint="see `realm curriculum set --help`")
    if of_skill and skill is None:
        raise UsageError("--on, --off, --priority and --weight need a skill", hint="name it first")
    with options.realm() as realm:
        lines = settings_text(realm.lab, general, skill, of_skill)
        file = realm.home.config
    if options.json:
        print_json({"file": str(file), "lines": lines})
        return
    print_line(f"# Nothing was changed. Write this into {file}, joined with the section that is there:")
    print_line(lines.rstrip())


def trial(
    ctx: typer.Context,
    a: str = typer.Option("balanced", "--a", help="A strategy or preset."),
    b: str = typer.Option("preview-heavy", "--b", help="The one to compare it with."),
    steps: int = typer.Option(200, min=1, max=1_000_000, help="Training steps of each campaign, as tokens."),
    seeds: int = typer.Option(3, min=1, max=100, help="Campaigns of each side."),
    start: str = typer.Option(
        None, "--from", help="Checkpoint to begin from, such as dio@400; else the latest."
    ),
    show_trials: bool = typer.Option(False, "--show", help="Show the trials so far; nothing is trained."),
) -> None:
    """Compare two strategies or presets: two campaigns a seed, from one checkpoint, with the same tokens.

    The lab must be down meanwhile. A trial that was interrupted goes on when it is asked for again.
    Strategies spread rows over skills: two of them can be compared where a hero has several.

    Example: realm curriculum trial --a balanced --b preview-heavy --steps 200 --seeds 5
    """
    from realm.flows.trial import TrialPlan, run_trial, trials

    options: Options = ctx.obj
    if show_trials:
        with options.realm() as realm:
            known = trials(realm.lab)
        if options.json:
            print_json(known)
        else:
            _print_trials(known)
        return
    plan = TrialPlan(a=a, b=b, steps=steps, seeds=seeds, start=start)
    with options.realm() as realm, show_events(realm, options) as watching:
        try:
            decided = run_trial(realm.lab, plan)
        except KeyboardInterrupt:
            watching.close()
            sys.stderr.write(
                "The trial was interrupted. Ask for it again in the same words, and it goes on.\n"
            )
            raise
        watching.close()
    if options.json:
        print_json(decided)
    else:
        _print_decided(decided)


def _print_trials(known: list[Trial]) -> None:
    for trial in known:
        begun = trial.begun
        print_line(f"{begun.trial}: {begun.a} against {begun.b}, from {begun.hero}@{begun.hero_step}")
        if trial.decided is None:
            size = f"--steps {begun.steps} --seeds {begun.seeds} --from {begun.start[7:19]}"
            print_line(f"  not complete; `realm curriculum trial --a {begun.a} --b {begun.b} {size}` goes on")
        else:
            _print_decided(trial.decided)
    if not known:
        print_line("There was no trial yet: `realm curriculum trial --a balanced --b preview-heavy`.")


def _print_decided(found: TrialDecided) -> None:
    rows = [
        (
            name,
            seed,
            f"{arm.share:.3f}",
            f"{arm.share - found.start_share:+.3f}",
            f"{arm.tokens:,}",
            arm.checkpoint[7:19],
        )
        for name, arms in ((found.a, found.arms_a), (found.b, found.arms_b))
        for seed, arm in enumerate(arms)
    ]
    print_table(["", "seed", "right", "gained", "tokens", "checkpoint"], rows, empty="")
    print_line(
        f"{found.b} - {found.a}: {found.difference:+.3f}, 95 % interval {found.low:+.3f} to "
        f"{found.high:+.3f} on {found.problems} held-out problems"
    )
    print_line(f"({found.method})")
    better = {"a": f"{found.a} is better.", "b": f"{found.b} is better."}
    print_line(better.get(found.verdict, "Undecided: the interval holds 0. More seeds or steps may tell."))


def report(
    ctx: typer.Context,
    skill: str = typer.Argument(None, help="The skill; all of the hero's without one."),
    model: str = typer.Option(None, help="The model, such as dio@champion; else the newest evaluated one."),
    threshold: float = typer.Option(
        None, min=0.01, max=1.0, help="What counts as weak; else the curriculum's."
    ),
) -> None:
    """Report the accuracy of each primitive from stored evaluations, weakest first.

    Example: realm skill report bin --threshold 0.9
    """
    from realm.flows.report import report as report_on

    options: Options = ctx.obj
    with options.realm() as realm:
        found = report_on(realm.lab, skill, model=model, threshold=threshold)
    if options.json:
        print_json(found)
        return
    for each in found:
        _print_report(each)


def _print_report(found: SkillReport) -> None:
    levels = ", ".join(map(str, found.levels))
    print_line(f"{found.skill}, level {levels}, by {found.checkpoint}")
    print_table(
        ["primitive", "right", "share", "95 % interval", f"under {found.threshold:.2f}"],
        [
            (
                row.primitive,
                f"{row.answers.correct}/{row.answers.total}",
                f"{row.share:.3f}",
                f"{row.answers.low:.3f} – {row.answers.high:.3f}",
                ("yes" if row.certain else "maybe") if row.weak else "",
            )
            for row in found.primitives
        ],
        empty="Nothing was asked.",
    )
    print_line(f"weak: {', '.join(found.weak) or 'none'}")
