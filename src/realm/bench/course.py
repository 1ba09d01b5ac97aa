"""One case being run: our engine and its peers, set up, then trained in turns.

Before each segment of a peer our engine trains one, so that both of a pair see the machine in the
same mood. In a quick run a peer that took more than twice as long as the fastest one in the first
round sits out the others: it cannot become the best, and it would take most of the time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from realm.bench.cases import LOSS_TOLERANCE, Case, Peer, peers
from realm.bench.contender import Contender, Trained
from realm.bench.flops import must_compute
from realm.bench.material import Material
from realm.bench.report import CaseFigures, LeftOut, PeerFigures
from realm.bench.turns import Where
from realm.core.errors import RefusedError, UnavailableError
from realm.jobs.environment import child_environment

_PEER = Path(__file__).with_name("peer.py")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How cases are run; the defaults are those of the CPU."""

    pairs: int
    threads: int
    python: Path
    """Interpreter that the peers run in."""
    script: Path = _PEER
    """What it runs, with the file of a `Spec` as its argument."""
    peers: Callable[[Case, int, int], list[Peer]] = peers
    patience: float | None = None
    """A peer that takes so many times as long as the fastest sits out all rounds but the first."""
    device: Where = "cpu"
    """Whose limit is measured."""
    warm_ups: int = 0
    """Segments of every contender that do not count: kernels are compiled in the first one."""
    takes_turns: bool = False
    """Contenders leave the device to each other between segments."""


@dataclass
class Entrant:
    """A contender in a case, and its segments so far."""

    name: str
    contender: Contender
    segments: list[Trained] = field(default_factory=list)

    def train(self, say: Say, *, counts: bool = True) -> Trained:
        """Train a segment; one that does not count is forgotten."""
        trained = self.contender.train()
        if counts:
            self.segments.append(trained)
        say(f"{self.name}: {trained.answer['tokens'] / trained.seconds:,.0f} tokens/s")
        return trained

    @property
    def seconds(self) -> float:
        """Of the median segment."""
        return median(trained.seconds for trained in self.segments)

    @property
    def peak_mb(self) -> float:
        """The most host memory."""
        return max(trained.peak_mb for trained in self.segments)

    @property
    def peak_device_mb(self) -> float | None:
        """The most memory on the GPU; none on the CPU."""
        peaks = [trained.answer.get("peak_device_mb") for trained in self.segments]
        return max((peak for peak in peaks if peak is not None), default=None)


@dataclass
class Rival:
    """A peer, and our segments right before its own."""

    peer: Peer
    entrant: Entrant
    ours: list[float] = field(default_factory=list)

    @property
    def speedup(self) -> float:
        pairs = zip(self.entrant.segments, self.ours, strict=True)
        return median(trained.seconds / ours for trained, ours in pairs)


class Course:
    """One case being run."""

    def __init__(self, case: Case, rows: int, plan: Plan, folder: Path, say: Say) -> None:
        self._case = case
        self._material = Material(case, rows, folder)
        self._plan = plan
        self._folder = folder
        self._say: Say = lambda text: say(f"{case.name} · {text}")

    def run(self, measure_limit: Callable[[], None]) -> None:
        """Set everybody up, then run the rounds."""
        self._parameters = self._material.write()
        with ExitStack() as stack:
            self._ours = self._enter(stack, None)
            peers = self._plan.peers(self._case, self._material.tokens, self._material.steps)
            self._rivals, self._left_out = admit(peers, lambda peer: self._enter(stack, peer), self._say)
            active = self._rivals
            for number in range(self._plan.pairs):
                measure_limit()
                for rival in active:
                    rival.ours.append(self._train(self._ours))
                    self._train(rival.entrant)
                if number == 0 and self._plan.patience:
                    active = self._keep_the_fast(self._plan.patience)

    def figures(self, peak_gflops: float) -> CaseFigures:
        """Return what was found, with the machine's peak known."""
        ours, case, material = self._ours, self._case, self._material
        best = min(self._rivals, key=lambda rival: rival.entrant.seconds)
        operations = must_compute(case.shape, material.work, case.rank)
        return CaseFigures(
            name=case.name,
            model=case.model,
            vocab=case.shape.vocabulary,
            mode=case.mode,
            tokens_per_s=material.tokens / ours.seconds,
            trained_tokens_per_s=material.work.trained / ours.seconds,
            peak_rss_mb=ours.peak_mb,
            peak_device_mb=ours.peak_device_mb,
            speedup_vs_best_peer=best.speedup,
            memory_ratio=memory_ratio(ours, best.entrant),
            utilisation=operations / (ours.seconds * peak_gflops * 1e9),
            best_peer=best.peer.name,
            pairs=len(best.ours),
            setup_s=ours.contender.setup_s,
            parameters=self._parameters,
            trained_parameters=int(ours.contender.ready["parameters"]),
            rows=material.rows,
            steps=material.steps,
            tokens=material.tokens,
            trained_tokens=material.work.trained,
            gflop=operations / 1e9,
            limit_tokens_per_s=material.tokens * peak_gflops * 1e9 / operations,
            first_loss=ours.contender.ready["first_loss"],
            peers=tuple(self._peer_figures(rival) for rival in self._rivals),
            left_out=tuple(self._left_out) or None,
        )

    def _peer_figures(self, rival: Rival) -> PeerFigures:
        entrant, material = rival.entrant, self._material
        return PeerFigures(
            name=rival.peer.name,
            settings=rival.peer.settings,
            trained_positions_only=rival.peer.trained_positions_only,
            tokens_per_s=material.tokens / entrant.seconds,
            trained_tokens_per_s=material.work.trained / entrant.seconds,
            peak_rss_mb=entrant.peak_mb,
            peak_device_mb=entrant.peak_device_mb,
            speedup=rival.speedup,
            pairs=len(rival.ours),
            setup_s=entrant.contender.setup_s,
            loss_difference=entrant.contender.ready["first_loss"] - self._ours.contender.ready["first_loss"],
        )

    # --- before and between segments ------------------------------------------------------

    def _enter(self, stack: ExitStack, peer: Peer | None) -> Entrant:
        """Start a contender, ours without a peer; see that it begins where we do, and warm it up."""
        name = peer.name if peer else "ours"
        self._say(f"{name}: setting up")
        own = self._folder / name.replace(" ", "_").replace(",", "")
        own.mkdir()
        spec = own / "spec.json"
        told = self._material.spec(own, peer, self._plan.threads)
        spec.write_text(told.model_dump_json(indent=1), encoding="utf-8")
        command = (
            [str(self._plan.python), "-I", str(self._plan.script), str(spec)]
            if peer
            else [sys.executable, "-P", "-m", "realm.bench.ours", str(spec)]
        )
        environment = environment_of(self._plan.threads, own)
        with ExitStack() as trial:
            contender = trial.enter_context(
                Contender(name, command, environment, own / "log.txt", takes_turns=self._plan.takes_turns)
            )
            if peer:
                tolerance = LOSS_TOLERANCE[self._case.precision]
                refuse_other_start(name, contender.ready, self._ours.contender.ready, tolerance)
            entrant = Entrant(name, contender)
            for _ in range(self._plan.warm_ups):
                self._train(entrant, counts=False)
            stack.enter_context(trial.pop_all())
        return entrant

    def _train(self, entrant: Entrant, *, counts: bool = True) -> float:
        """Have a segment trained; refuse it if it is not what everybody trains."""
        trained = entrant.train(self._say, counts=counts)
        expected = {"tokens": self._material.tokens, "trained_tokens": self._material.work.trained}
        refuse_other_tokens(entrant.name, trained.answer, expected)
        return trained.seconds

    def _keep_the_fast(self, patience: float) -> list[Rival]:
        """Return those that may still be the fastest; the others leave, and their memory with them."""
        fastest = min(rival.entrant.seconds for rival in self._rivals)
        kept = [rival for rival in self._rivals if rival.entrant.seconds <= patience * fastest]
        for rival in self._rivals:
            if rival not in kept:
                rival.entrant.contender.close()
        return kept


def admit(
    peers: Sequence[Peer], enter: Callable[[Peer], Entrant], say: Say
) -> tuple[list[Rival], list[LeftOut]]:
    """Let peers enter; return those that run, and why others, which may be missing, do not.

    Raises UnavailableError where none is left, and what a peer raises that may not be missing.
    """
    entered, left_out = list[Rival](), list[LeftOut]()
    for peer in peers:
        try:
            entered.append(Rival(peer, enter(peer)))
        except (RefusedError, UnavailableError) as error:
            if not peer.optional:
                raise
            say(f"{peer.name}: left out: {error.what}")
            left_out.append(LeftOut(name=peer.name, reason=error.what))
    if not entered:
        told = "; ".join(f"{missing.name}: {missing.reason}" for missing in left_out)
        raise UnavailableError(f"no peer can run here: {told}")
    return entered, left_out


def memory_ratio(ours: Entrant, theirs: Entrant) -> float:
    """Return our peak divided by theirs: of memory on the GPU where there is one, else of the host's."""
    if ours.peak_device_mb and theirs.peak_device_mb:
        return ours.peak_device_mb / theirs.peak_device_mb
    return ours.peak_mb / theirs.peak_mb


def refuse_other_start(
    name: str, theirs: Mapping[str, float], ours: Mapping[str, float], tolerance: float
) -> None:
    """Raise RefusedError unless a peer begins with our loss and trains as many parameters."""
    if not abs(theirs["first_loss"] - ours["first_loss"]) <= tolerance:
        raise _unequal(name, "loss before the first step", theirs["first_loss"], ours["first_loss"])
    if theirs["parameters"] != ours["parameters"]:
        raise _unequal(name, "trained parameters", theirs["parameters"], ours["parameters"])


def refuse_other_tokens(name: str, answer: Mapping[str, float], expected: Mapping[str, int]) -> None:
    """Raise RefusedError unless a segment has exactly the expected tokens and trained tokens."""
    for what, count in expected.items():
        if answer[what] != count:
            raise _unequal(name, what.replace("_", " "), answer[what], count)


def _unequal(name: str, what: str, theirs: float, ours: float) -> RefusedError:
    return RefusedError(
        f"{name} does not train what we train: its {what}: {theirs}, ours: {ours}",
        hint="the comparison would mean nothing; nothing was reported",
    )


def environment_of(threads: int, scratch: Path) -> dict[str, str]:
    """Return the environment that every contender gets, ours included."""
    # realm.models, imported with this module, has set how OpenMP waits.
    fixed = {
        "OMP_NUM_THREADS": str(threads),
        "HF_HOME": str(scratch / "hub"),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        # TRL would spread over several, or refuse.
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0],
    }
    return {**child_environment(os.environ), **fixed}
