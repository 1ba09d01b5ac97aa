"""`realm eval`: ask suites of models, look at what came of it, compare two models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from realm.cli.asked import MODEL, SIZE, problem_bar, size_of
from realm.cli.groups import Commands, add_group
from realm.cli.options import Options
from realm.cli.output import ago, print_json, print_line, print_table
from realm.cli.standing import rank, transfer
from realm.core.clock import utc_now
from realm.core.text import printable

if TYPE_CHECKING:
    from realm.evaluation.calibration import Calibration
    from realm.evaluation.comparison import Difference
    from realm.evaluation.score import Share, SuiteScore
    from realm.flows.suites import Compared, Evaluated, SuiteInfo
    from realm.ledger.records import EvaluationRecord, ProblemResult

SUITE = typer.Option("lite", "--suite", help="The suite's name; `realm eval list --suites` names them.")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    commands: Commands = {
        "run": run,
        "list": list_evaluations,
        "show": show,
        "calibration": calibration,
        "compare": compare,
        "rank": rank,
        "transfer": transfer,
    }
    add_group(app, "eval", "Ask suites of models and compare what they answer.", commands)


def run(
    ctx: typer.Context,
    model: str | None = typer.Argument(None, help=f"{MODEL} Without one the champion, else the latest."),
    suite: str = SUITE,
    size: str | None = SIZE,
    early_stop: bool = typer.Option(
        False, "--early-stop", help="End a part when it passes or fails its threshold for certain."
    ),
    risk: float = typer.Option(
        0.0, min=0.0, max=0.2, help="With --early-stop: the chance of a wrong verdict that is accepted."
    ),
    wait: bool = typer.Option(True, help="Show the evaluation until it has ended; else only queue it."),
) -> None:
    """Ask a suite of a model. What it has answered before is not asked again.

    Where the lab is up (`realm up`) it does the work, next in its queue; else this command does. The exit
    code is 0 if the suite's threshold is reached, else 1.

    Example: realm eval run dio@latest --suite lite
    """
    from realm.core.errors import UsageError
    from realm.flows.evaluation import unanswered
    from realm.flows.suites import ask, begin, evaluated, finish

    if risk and not early_stop:
        raise UsageError("--risk says when a part may end early", hint="give --early-stop too")
    options: Options = ctx.obj
    with options.realm() as realm:
        asked = ask(realm.lab, model, suite, size=size_of(size), risk=risk if early_stop else None)
        job = begin(realm.lab, asked)
        if job is not None and not wait:
            _queued(options, job.id)
            return
        if job is not None:
            missing = unanswered(realm.lab, asked.checkpoint, asked.parts)
            with problem_bar(realm, job, sum(len(part.problems) for part in missing)):
                finish(realm.lab, job)
        found = evaluated(realm.lab, asked)
    if options.json:
        print_json(found)
    else:
        _print_evaluated(found)
    if found.score.passed is not True:
        raise typer.Exit(1)


def _queued(options: Options, job: str) -> None:
    if options.json:
        print_json({"job": job})
    else:
        print_line(f"{job}: queued; the lab answers it next (`realm up`)")


def _print_evaluated(found: Evaluated) -> None:
    score = found.score
    print_line(f"{found.model}  {found.checkpoint[:19]}  {score.suite} {score.version} ({score.size})")
    print_table(
        ["task", "category", "weight", "asked", "score", "95 % interval", "threshold", ""],
        [
            (
                task.name,
                task.category,
                f"{task.weight:g}",
                _asked(task.score),
                _points(task.score, task.scoring),
                _interval(task.score),
                f"{task.threshold:.2f}",
                _mark(task.passed),
            )
            for task in score.tasks
        ],
        empty="The suite has no tasks.",
    )
    _print_primitives(score)
    if len(score.categories) > 1:
        print_line(
            "categories  " + "  ".join(f"{name} {mean:.3f}" for name, mean in score.categories.items())
        )
    for task in score.tasks:
        for verdict in task.verdicts:
            print_line(f"early       {verdict}")
    for context in found.contexts:
        print_line("measured    " + _context(context))
    print_line(
        f"composite   {score.composite.mean:.3f}  {_interval(score.composite)}"
        f"  threshold {score.threshold:.2f}  {_mark(score.passed)}"
    )


def _print_primitives(score: SuiteScore) -> None:
    rows = [
        (task.name, name, _asked(share), _points(share, task.scoring), _interval(share))
        for task in score.tasks
        for name, share in task.primitives.items()
        if len(task.primitives) > 1
    ]
    if rows:
        print_table(["task", "primitive", "asked", "score", "95 % interval"], rows, empty="")


def _asked(share: Share) -> str:
    return str(share.asked) if share.asked == share.problems else f"{share.asked} of {share.problems}"


def _points(share: Share, scoring: str) -> str:
    return f"{100 * share.mean:.1f} of 100" if scoring == "graded" else f"{share.mean:.3f}"


def _interval(share: Share | Difference) -> str:
    return f"{share.low:.3f} – {share.high:.3f}"


def _mark(passed: bool | None) -> str:
    return {True: "passed", False: "not passed", None: "not certain"}[passed]


def _context(context: dict[str, str]) -> str:
    return printable(", ".join(f"{name} {value}" for name, value in sorted(context.items())), limit=400)


def list_evaluations(
    ctx: typer.Context,
    model: str | None = typer.Argument(None, help=f"Only of one: {MODEL}"),
    limit: int = typer.Option(20, min=1, help="How many, newest first."),
    suites: bool = typer.Option(False, "--suites", help="List the suites that can be asked instead."),
) -> None:
    """List evaluations, newest first, or the suites that can be asked.

    Example: realm eval list --suites
    """
    from realm.flows import suites as flow

    options: Options = ctx.obj
    with options.realm() as realm:
        if suites:
            _print_suites(options, flow.suites(realm.lab))
            return
        checkpoint = realm.checkpoint(model).hash if model else None
        found = realm.lab.ledger.evaluations.list(checkpoint=checkpoint, limit=limit)
    if options.json:
        print_json(found)
        return
    now = utc_now()
    print_table(
        ["id", "checkpoint", "step", "suite", "right", "score", "asked", "age"],
        [
            (
                e.id,
                e.checkpoint[7:19],
                e.hero_step,
                e.suite,
                f"{e.correct}/{e.total}",
                "–" if e.score is None else f"{e.score:.3f}",
                "all" if not e.verdict else f"{e.total} of {e.problems}",
                ago(e.created_at, now),
            )
            for e in found
        ],
        empty="Nothing has been evaluated yet. Ask a suite with `realm eval run`.",
    )


def _print_suites(options: Options, found: list[SuiteInfo]) -> None:
    if options.json:
        print_json(found)
        return
    print_table(
        ["suite", "version", "size", "tasks", "after each run", "title"],
        [(s.name, s.version, s.size, s.tasks, "yes" if s.configured else "no", s.title) for s in found],
        empty="There are no suites.",
    )


def show(
    ctx: typer.Context,
    evaluation: int = typer.Argument(help="Its id: see `realm eval list`."),
    answers: bool = typer.Option(False, "--answers", help="Show every answer, and what was found wrong."),
) -> None:
    """Show one evaluation: how it was measured and calibrated, and each answer if asked.

    Example: realm eval show 12 --answers
    """
    from realm.flows.calibration import of_evaluations

    options: Options = ctx.obj
    with options.realm() as realm:
        record = realm.lab.ledger.evaluations.get(evaluation)
        sure = of_evaluations(realm.lab, [evaluation])
        results = realm.lab.ledger.evaluations.results(evaluation) if answers else []
    if options.json:
        told = {**record.model_dump(mode="json"), "calibration": sure}
        print_json({**told, **({"answers": results} if answers else {})})
        return
    _print_record(record)
    _print_calibration(sure, record.total)
    _print_answers(results)


def calibration(
    ctx: typer.Context,
    model: str | None = typer.Argument(None, help=f"{MODEL} Without one the champion, else the latest."),
    bins: int = typer.Option(10, min=2, max=100, help="How many confidences are sorted into."),
    equally_full: bool = typer.Option(
        False, "--equally-full", help="Show bins with equally many answers instead of bins equally wide."
    ),
) -> None:
    """Show how well a checkpoint's confidences are calibrated, over all it was asked in one way.

    Example: realm eval calibration dio@champion --bins 15
    """
    from realm.evaluation.calibration import CalibrationConfig
    from realm.flows.calibration import of_checkpoint
    from realm.flows.checkpoints import chosen

    options: Options = ctx.obj
    with options.realm() as realm:
        config = CalibrationConfig(bins=bins, kind="mass" if equally_full else "width")
        found = of_checkpoint(realm.lab, chosen(realm.lab, model), config)
    if options.json:
        print_json(found)
        return
    print_line(f"{found.checkpoint}  {found.hash[:19]}  evaluations: {len(found.evaluations)}")
    if found.left_out:
        print_line(f"{'left out':12} {len(found.left_out)} measured in another way")
    _print_calibration(found.calibration, found.answers)


def _print_record(record: EvaluationRecord) -> None:
    for key, value in record.model_dump(mode="json", exclude={"primitives", "context"}).items():
        print_line(f"{key:12} {value}")
    for name, (correct, total) in record.primitives.items():
        print_line(f"{'primitive':12} {name}: {correct}/{total}")
    for name, value in sorted(record.context.items()):
        print_line(f"{'measured':12} {name}: {printable(str(value))}")


def _print_calibration(sure: Calibration | None, answers: int) -> None:
    if sure is None:
        print_line(f"{'calibration':12} unknown: no confidences are recorded")
        return
    print_line(
        f"{'calibration':12} error {sure.width_error:.3f} in bins equally wide, {sure.mass_error:.3f} in bins"
        f" equally full; {sure.answers} of {answers} answers"
    )
    fitted = "" if sure.fitted else " (none helps)"
    print_line(
        f"{'temperature':12} {sure.temperature:.3g}{fitted}, with it the error is {sure.corrected_error:.3f}"
    )
    print_table(
        ["confidence", "answers", "mean confidence", "right"],
        [
            (f"{row.low:.2f} – {row.high:.2f}", row.answers, f"{row.confidence:.3f}", f"{row.score:.3f}")
            for row in sure.table
            if row.answers
        ],
        empty="",
    )


def _print_answers(results: list[ProblemResult]) -> None:
    for result in results:
        mark = "✓" if result.correct else "✗" if result.score == 0 else f"{100 * result.score:.0f}"
        print_line(f"{mark:>3} {printable(result.key, 60)}  →  {printable(result.answer, 200)}")
        for note in result.notes:
            print_line(f"      {printable(note, 200)}")


def compare(
    ctx: typer.Context,
    before: str = typer.Argument(help=MODEL),
    after: str = typer.Argument(help="The other one."),
    suite: str = SUITE,
    size: str | None = SIZE,
) -> None:
    """Compare two models on a suite that both have answered, problem by problem.

    Refused where they were not measured alike: another backend, template, sampling or other problems.

    Example: realm eval compare dio@champion dio@latest --suite lite
    """
    from realm.flows import suites as flow

    options: Options = ctx.obj
    with options.realm() as realm:
        one, other = (flow.ask(realm.lab, name, suite, size=size_of(size)) for name in (before, after))
        found = flow.compare(realm.lab, one, other)
    if options.json:
        print_json(found)
    else:
        _print_compared(found)


def _print_compared(found: Compared) -> None:
    print_line(f"{found.suite}: {found.before} → {found.after}")
    rows = [*found.tasks, found.overall] if len(found.tasks) > 1 else [found.overall]
    print_table(
        ["task", "problems", "before", "after", "difference", "95 % interval", "won", "lost", "p"],
        [
            (
                row.name,
                row.problems,
                f"{row.before:.3f}",
                f"{row.after:.3f}",
                f"{row.difference:+.3f}",
                _interval(row),
                row.wins,
                row.losses,
                f"{row.two_sided:.3g}",
            )
            for row in rows
        ],
        empty="",
    )
    for label in found.labels:
        print_line(f"differs     {printable(label, 200)}")
