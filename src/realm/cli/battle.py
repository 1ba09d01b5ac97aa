"""The live view of training: what happens now, accuracy per primitive, what was gained.

`Battle` folds events into what is shown; `render` draws it with Rich. Without a terminal
`plain` gives one line for an event that a person wants to read.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from realm.core import events
from realm.core.events import Event, Interval
from realm.core.lore import word
from realm.core.text import printable
from realm.skills.skill import LevelInfo

SPARKS = "▁▂▃▄▅▆▇█"
CURVE = 40
"""Columns of the curves."""
NEWS_SHOWN = 3
PACE_STEPS = 20
"""Steps whose median tells the time that is left."""


class Pace:
    """How long a run still takes, by its last steps: one that was slow or quick moves it little."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=PACE_STEPS)
        self._run = ""

    def left_s(self, step: events.StepTaken) -> float:
        """Take a step; return the seconds to the end of its run."""
        if step.run != self._run:
            self._run = step.run
            self._seconds.clear()
        self._seconds.append(step.seconds)
        return (step.steps_total - step.step) * median(self._seconds)


class Battle:
    """Everything the view knows, folded from events."""

    def __init__(self, title: str, level_info: Callable[[str, int], LevelInfo], needed: int) -> None:
        self.title = title
        self.needed = needed
        """Consecutive passes that master a level."""
        self.started = time.monotonic()
        self.doing = "getting ready"
        self.run = ""
        self.step: events.StepTaken | None = None
        self.eta_s: float | None = None
        """Seconds to the end of this run."""
        self.losses: deque[float] = deque(maxlen=CURVE)
        self.shares: deque[float] = deque(maxlen=CURVE)
        self.rates: deque[float] = deque(maxlen=20)
        self.score: events.Evaluated | None = None
        self.trial: events.TrialAdvanced | None = None
        self.news: deque[Text] = deque(maxlen=NEWS_SHOWN)
        self._level_info = level_info
        self._pace = Pace()

    def take(self, event: Event) -> None:
        """Fold one event in."""
        if isinstance(event, events.StepTaken):
            self.run, self.step, self.doing = event.run, event, "training"
            self.eta_s = self._pace.left_s(event)
            self.losses.append(event.loss)
            self.rates.append(event.tokens / max(event.seconds, 1e-9))
        elif isinstance(event, events.AnswersGraded):
            self.doing = f"answering {event.done} of {event.total}"
        elif isinstance(event, events.Evaluated):
            self.score = event
            self.shares.append(event.pooled.correct / max(event.pooled.total, 1))
        elif isinstance(event, events.JobQueued):
            self.doing = f"next: {event.title}"
        elif isinstance(event, events.TrialAdvanced):
            self.trial = event
        # By the scores, the run's title, a row of its own.
        told = isinstance(event, events.Evaluated | events.DatasetAdded | events.TrialAdvanced)
        if (line := plain(event)) is not None and not told:
            self.news.append(line)

    def render(self) -> RenderableType:
        """Draw the view."""
        parts: list[RenderableType] = [self._battle()]
        if self.score is not None:
            parts += [Text(), self._scores(self.score)]
        if self.news:
            parts += [Text(), *self.news]
        elapsed = clock(time.monotonic() - self.started)
        return Panel(Group(*parts), title=f"[bold]{self.title}[/]", subtitle=elapsed, border_style="yellow")

    def _battle(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", width=8)
        table.add_column(width=CURVE)
        table.add_column()
        if self.trial is not None:
            bar = ProgressBar(total=self.trial.tokens_total, completed=self.trial.tokens, width=CURVE)
            table.add_row("trial", bar, campaign(self.trial))
        if self.step is None:
            table.add_row(word("run"), self.doing)
            return table
        step = self.step
        rate = sum(self.rates) / len(self.rates)
        table.add_row(word("run"), f"{self.run} · {self.doing}", f"{rate:,.0f} tokens/s")
        bar = ProgressBar(total=step.steps_total, completed=step.step, width=CURVE)
        eta = clock(self.eta_s) if self.eta_s else "–"
        table.add_row("step", bar, f"{step.step}/{step.steps_total} · ETA {eta} · {step.hero_step} in all")
        curve = Text(sparkline(list(self.losses)), style="cyan")
        table.add_row("loss", curve, f"{step.loss:.4f} · learning rate {step.learning_rate:.2g}")
        if self.shares:
            curve = Text(sparkline(list(self.shares), low=0.0, high=1.0), style="green")
            table.add_row(word("accuracy"), curve, f"{self.shares[-1]:.3f} · at the tested level")
        return table

    def _scores(self, score: events.Evaluated) -> RenderableType:
        info = self._level_info(score.skill, score.level)
        title = f"{score.skill} level {score.level} · held-out problems · passes {score.streak}/{self.needed}"
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for header in ("primitive", "right", "share", "95 % interval", ""):
            table.add_column(header, justify="right" if header in ("right", "share") else "left")
        for primitive in info.primitives:
            found = score.primitives.get(primitive.name)
            if found is None or not primitive.testable:
                table.add_row(primitive.name, "–", "", Text("not testable here", style="dim"), "")
            else:
                table.add_row(primitive.name, *interval_cells(found))
        table.add_row(Text("all", style="bold"), *interval_cells(score.pooled))
        return table


def interval_cells(interval: Interval) -> tuple[str, str, str, Text]:
    """Return the cells of one score: count, share, interval, bar."""
    share = interval.correct / interval.total if interval.total else 0.0
    style = "green" if share >= 0.95 else "yellow" if share >= 0.8 else "red"
    return (
        f"{interval.correct}/{interval.total}",
        f"{share:.3f}",
        f"{interval.low:.3f} – {interval.high:.3f}",
        Text("█" * round(share * 20), style=style),
    )


def sparkline(values: list[float], low: float | None = None, high: float | None = None) -> str:
    """Draw values as a line of blocks, scaled to their own range or to the one given."""
    if not values:
        return ""
    floor = min(values) if low is None else low
    span = ((max(values) if high is None else high) - floor) or 1.0
    return "".join(SPARKS[round((value - floor) / span * (len(SPARKS) - 1))] for value in values)


def clock(seconds: float) -> str:
    """Write seconds as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def progress(step: events.StepTaken, left_s: float) -> str:
    """Write one line about a step: how far, loss, rate, time left."""
    return (
        f"{step.run} step {step.step}/{step.steps_total} loss {step.loss:.4f} "
        f"{step.tokens / max(step.seconds, 1e-9):,.0f} tokens/s ETA {clock(left_s)}"
    )


def campaign(event: events.TrialAdvanced) -> str:
    """Write which campaign of a trial trains, and how long all of them will still take."""
    left = "" if event.left_s is None else f" · ETA {clock(event.left_s)}"
    return f"{event.way}, seed {event.seed} · campaign {event.campaign} of {event.campaigns}{left}"


def plain(event: Event) -> Text | None:
    """Return one line about an event that a person wants to read, else None."""
    match event:
        case events.Evaluated():
            share = event.pooled.correct / max(event.pooled.total, 1)
            mark = "passed" if event.passed else "not yet"
            return Text(
                f"  step {event.hero_step}: {event.skill} level {event.level} "
                f"{event.pooled.correct}/{event.pooled.total} = {share:.3f} ({mark}, {event.streak} in a row)"
            )
        case events.LevelMastered():
            return Text(
                f"★ {event.skill} level {event.level} mastered at step {event.hero_step}", style="bold yellow"
            )
        case events.LevelReviewed():
            share = event.pooled.correct / max(event.pooled.total, 1)
            text = f"{event.skill} level {event.level} {event.change} at step {event.hero_step}: {share:.3f}"
            return Text(f"! {text}; {event.consequence}", style="yellow")
        case events.TrialBegun():
            return Text(
                f"trial {event.trial}: {event.a} against {event.b} from {event.hero}@{event.hero_step}, "
                f"{2 * event.seeds} campaigns of {event.budget_tokens:,} tokens"
            )
        case events.TrialAdvanced():
            return Text(f"{event.tokens / event.tokens_total:4.0%} {campaign(event)}", style="bold")
        case events.RegressionFound():
            style = "red" if event.alarm == "critical" else "yellow"
            return Text(f"! {event.checkpoint} fell behind: {'; '.join(event.reasons)}", style=style)
        case events.GateDecided(passed=False):
            return Text(
                f"✗ {word('gate')} refused {event.checkpoint}: {'; '.join(event.reasons)}", style="red"
            )
        case events.Appraised(factor=factor) if factor < 1:
            wrong = "; ".join(
                f"{name}: {details} ({remedy})"
                for name, status, details, remedy in event.checks
                if status != "ok"
            )
            return Text(f"! {event.checkpoint} is {word(event.verdict)}: {wrong}", style="yellow")
        case events.Promoted():
            return Text(f"♛ {event.model} promoted at step {event.hero_step}", style="bold green")
        case events.FileRefused():
            return Text(f"✗ {printable(event.file)} refused: {printable(event.reason)}", style="red")
        case events.DatasetAdded():
            return Text(f"+ {printable(event.name)}: {event.rows} rows", style="dim")
        case events.MaskingProven() if event.dropped:
            reasons = ", ".join(f"{count} {reason}" for reason, count in event.dropped.items())
            told = f"! {event.run} does not train all rows as they are: {printable(reasons)}"
            return Text(told, style="yellow")
        case events.RunStarted() if not all(": as is (" in line for line in event.servable):
            return Text(f"! {event.run} leaves: {'; '.join(event.servable)}", style="yellow")
        case events.RunStarted() if event.trained_parameters != event.parameters and event.servable:
            return Text(f"  {event.run} leaves: {'; '.join(event.servable)}", style="dim")
        case events.MaskingProven(packed=False):
            return Text(f"! {event.run} trains every row apart: packs would mix them", style="yellow")
        case events.ValidationMeasured():
            losses = ", ".join(f"{printable(name)} {loss:.3f}" for name, loss in event.losses.items())
            return Text(f"  {event.run} step {event.step}: validation loss {losses}", style="dim")
        case events.PreviewWritten():
            said = "; ".join(
                f"{printable(asked, 60)} → {printable(answer, 120)}" for asked, answer in event.samples
            )
            return Text(f"  {event.run} step {event.step} says: {said}", style="dim")
        case events.AlertRaised():
            return Text(f"! {event.run} step {event.step}: {event.what} ({event.hint})", style="yellow")
        case events.CheckpointSetAside():
            what = f"{event.checkpoint} is damaged and set aside: {printable(event.damage, limit=300)}"
            return Text(f"! {what}; {event.consequence}", style="yellow")
        case events.RolledBack():
            where = "left out" if event.to_step == event.step - 1 else f"back to step {event.to_step}"
            return Text(f"! {event.run} step {event.step} {where}: {event.cause}", style="yellow")
        case events.MemoryLowered():
            return Text(
                f"! {event.run} starts again with packs of {event.tokens_at_once} tokens: "
                f"{printable(event.cause, limit=200)}",
                style="yellow",
            )
        case events.JobEnded(state="failed"):
            return Text(f"✗ {event.job} failed: {printable(event.reason, limit=300)}", style="red")
        case events.JobEnded(state="paused"):
            return Text(f"‖ {event.job} paused", style="yellow")
        case _:
            return None
