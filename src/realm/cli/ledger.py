"""`realm ledger` and `realm model`: checkpoints, their scores, and the promoted models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from realm.cli.groups import Commands, add_group
from realm.cli.options import Options
from realm.cli.output import ago, print_json, print_line, print_table
from realm.core.clock import utc_now

if TYPE_CHECKING:
    from realm.ledger.records import EvaluationRecord

NONE_YET = "No checkpoint yet. Start the lab with `realm up`."


def register(app: typer.Typer) -> None:
    """Add the commands."""
    looks: Commands = {"list": list_checkpoints, "show": show, "best": best, "latest": latest}
    add_group(app, "ledger", "Look up checkpoints.", looks)
    add_group(app, "model", "Look up models.", {"list": list_models, "show": show_model})


def list_checkpoints(
    ctx: typer.Context, limit: int = typer.Option(20, help="How many of the newest.")
) -> None:
    """List checkpoints in the order they were saved, with their scores. Damaged ones are marked.

    Example: realm ledger list --limit 50
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        saved = realm.checkpoints(limit)
        scores = _scores(realm.evaluations())
    if options.json:
        print_json([{**c.model_dump(mode="json"), "evaluations": scores.get(c.hash, [])} for c in saved])
        return
    now = utc_now()
    print_table(
        ["seq", "checkpoint", "run", "loss", "scores", "hash", "age"],
        [
            (
                c.sequence,
                c.name + (" (damaged)" if c.damage else ""),
                c.run or "–",
                _number(c.stats.get("loss")),
                _brief(scores.get(c.hash, [])),
                c.hash[7:19],
                ago(c.created_at, now),
            )
            for c in saved
        ],
        empty=NONE_YET,
    )


def show(
    ctx: typer.Context,
    checkpoint: str = typer.Argument(help="HERO@STEP, HERO@latest, a hash or its beginning."),
) -> None:
    """Show one checkpoint with all its evaluations.

    Example: realm ledger show dio@latest
    """
    _show(ctx.obj, checkpoint)


def best(ctx: typer.Context, metric: str = typer.Argument("accuracy", help="accuracy, loss, …")) -> None:
    """Show the hero's best checkpoint by a metric.

    Example: realm ledger best accuracy
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        hero = realm.lab.hero_name
    _show(options, f"{hero}@best:{metric}")


def latest(ctx: typer.Context) -> None:
    """Show the hero's newest checkpoint.

    Example: realm ledger latest
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        hero = realm.lab.hero_name
    _show(options, f"{hero}@latest")


def _show(options: Options, reference: str) -> None:
    with options.realm() as realm:
        record = realm.checkpoint(reference)
        evaluations = realm.evaluations(record.hash)
    if options.json:
        print_json({**record.model_dump(mode="json"), "evaluations": evaluations})
        return
    for key, value in record.model_dump(mode="json").items():
        print_line(f"{key:12} {value}")
    for evaluation in evaluations:
        print_line(
            f"{'evaluation':12} {evaluation.skill} level {evaluation.level}: "
            f"{evaluation.correct}/{evaluation.total} right, loss {_number(evaluation.loss)}"
        )


def list_models(ctx: typer.Context) -> None:
    """List registered models; the champion is marked.

    Example: realm model list
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        models = realm.models()
        champion = realm.champion()
    if options.json:
        print_json([{**m.model_dump(mode="json"), "champion": m.name == champion} for m in models])
        return
    now = utc_now()
    print_table(
        ["model", "status", "hero", "checkpoint", "scores", "age"],
        [
            (
                m.name + (" ♛" if m.name == champion else ""),
                m.status,
                m.hero,
                m.checkpoint[7:19],
                _facts(m.scores),
                ago(m.created_at, now),
            )
            for m in models
        ],
        empty="No model has been promoted yet. A level must be mastered first: see `realm status`.",
    )


def show_model(
    ctx: typer.Context, model: str = typer.Argument(help="A registered version, such as dio-v2.")
) -> None:
    """Show a model, and why it was promoted or refused.

    Example: realm model show dio-v2
    """
    options: Options = ctx.obj
    with options.realm() as realm:
        record = realm.lab.ledger.models.get(model)
        decisions = [
            p
            for p in realm.lab.ledger.models.promotions(record.campaign, record.hero)
            if p.to_model == record.name
        ]
    if options.json:
        print_json({**record.model_dump(mode="json"), "decisions": decisions})
        return
    for key, value in record.model_dump(mode="json").items():
        print_line(f"{key:12} {value}")
    for promotion in decisions:
        for reason in promotion.decision.get("reasons", []):
            print_line(f"{'gate':12} {reason}")


def _scores(evaluations: list[EvaluationRecord]) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for e in evaluations:
        found.setdefault(e.checkpoint, []).append(
            {"suite": e.suite, "skill": e.skill, "level": e.level, "correct": e.correct, "total": e.total}
        )
    return found


def _brief(scores: list[dict[str, object]]) -> str:
    return " ".join(f"{s['skill']}{s['level']} {s['correct']}/{s['total']}" for s in reversed(scores))


def _facts(scores: dict[str, object]) -> str:
    return " ".join(f"{key} {value}" for key, value in scores.items())


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
