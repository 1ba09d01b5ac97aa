"""Run the cases: interleaved segments of our engine, its peers and the machine's limit.

Before each segment of a peer our engine trains one, so that both of a pair see the machine in the
same mood. A peer that took more than twice as long as the fastest one in the first round sits out
the others: it cannot become the best, and it would take most of the time.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

import psutil

from realm.bench import cases as settings
from realm.bench.cases import Case, Peer
from realm.bench.chats import chats, tokenizer
from realm.bench.contender import Contender, Trained
from realm.bench.environment import peers_python, requirements
from realm.bench.flops import must_compute, work_of
from realm.bench.report import CaseFigures, Machine, PeerFigures, TrainReport
from realm.bench.spec import Lora, Spec
from realm.core.errors import RefusedError, UsageError
from realm.jobs.environment import child_environment
from realm.models.chat import Encoded, encode_many
from realm.models.extra import require_training_extra

PAIRS = 5
QUICK_PAIRS = 3
LOSS_TOLERANCE = 1e-3
"""How far a peer's mean loss before the first step may be from ours, nats."""
_PATIENCE = 2.0
_MAX_TOKENS = 1024
_PEER = Path(__file__).with_name("peer.py")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to run; the defaults are what `realm bench train` runs."""

    pairs: int
    threads: int
    python: Path
    """Interpreter that the peers run in."""
    script: Path = _PEER
    """What it runs, with the file of a `Spec` as its argument."""
    peers: Callable[[Case, int, int], list[Peer]] = settings.peers


@dataclass
class _Entrant:
    """A contender in a case, and its segments so far."""

    name: str
    contender: Contender
    segments: list[Trained] = field(default_factory=list)
    peak_mb: float = 0.0

    def train(self, say: Say) -> float:
        trained = self.contender.train()
        self.segments.append(trained)
        self.peak_mb = self.contender.peak_mb()
        say(f"{self.name}: {trained.answer['tokens'] / trained.seconds:,.0f} tokens/s")
        return trained.seconds

    @property
    def seconds(self) -> float:
        return median(trained.seconds for trained in self.segments)


@dataclass
class _Rival:
    """A peer, and our segments right before its own."""

    peer: Peer
    entrant: _Entrant
    ours: list[float] = field(default_factory=list)

    @property
    def speedup(self) -> float:
        pairs = zip(self.entrant.segments, self.ours, strict=True)
        return median(trained.seconds / ours for trained, ours in pairs)


def measure(*, quick: bool, threads: int, rows: int | None, say: Say) -> TrainReport:
    """Run the four cases against TRL, whose environment is built if it is not there.

    `rows` chats in a segment, a multiple of 32, instead of what each case has. Raises UnavailableError
    where the peers cannot be installed, RefusedError where a peer does not train what we train.
    """
    require_training_extra()
    if rows is not None and (rows < settings.BATCH_ROWS or rows % settings.BATCH_ROWS):
        raise UsageError(f"{rows} chats: a multiple of {settings.BATCH_ROWS} is needed")
    plan = Plan(pairs=QUICK_PAIRS if quick else PAIRS, threads=threads, python=peers_python(say))
    wanted = [(case, rows or (case.quick_rows if quick else case.rows)) for case in settings.cases()]
    return run(wanted, plan, say)


def run(wanted: Sequence[tuple[Case, int]], plan: Plan, say: Say) -> TrainReport:
    """Run cases, each with its number of chats in a segment; say what is going on."""
    began = time.monotonic()
    rates: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="realm-bench-") as scratch, ExitStack() as stack:
        log = Path(scratch) / "limit.log"
        command = [sys.executable, "-P", "-m", "realm.bench.limit", str(plan.threads)]
        limit = stack.enter_context(Contender("the limit", command, _environment(plan, Path(scratch)), log))

        def measure_limit() -> None:
            for shape, rate in limit.train().answer.items():
                rates[shape] = max(rate, rates.get(shape, 0.0))

        courses = []
        for case, rows in wanted:
            folder = Path(scratch) / case.name
            folder.mkdir()
            courses.append(_Course(case, rows, plan, folder, say))
            courses[-1].run(measure_limit)
            shutil.rmtree(folder)
    peak = max(rates.values())
    return TrainReport(
        cases=tuple(course.figures(peak) for course in courses),
        machine=_machine(plan.threads, peak, rates),
        seconds=time.monotonic() - began,
    )


class _Course:
    """One case being run."""

    def __init__(self, case: Case, rows: int, plan: Plan, folder: Path, say: Say) -> None:
        self._case = case
        self._rows = rows
        self._plan = plan
        self._folder = folder
        self._say: Say = lambda text: say(f"{case.name} · {text}")
        self._encoded = _encode(rows)
        self._tokens = sum(len(row.ids) for row in self._encoded)
        self._work = work_of([row.trained.tolist() for row in self._encoded])
        self._steps = rows // settings.BATCH_ROWS

    def run(self, measure_limit: Callable[[], None]) -> None:
        """Set everybody up, then run the rounds."""
        self._write()
        with ExitStack() as stack:
            self._ours = self._enter(stack, "ours", None)
            self._rivals = [
                _Rival(peer, self._enter(stack, peer.name, peer))
                for peer in self._plan.peers(self._case, self._tokens, self._steps)
            ]
            active = list(self._rivals)
            for number in range(self._plan.pairs):
                measure_limit()
                for rival in active:
                    rival.ours.append(self._train(self._ours))
                    self._train(rival.entrant)
                if number == 0:
                    active = list(self._keep_the_fast(active))

    def figures(self, peak_gflops: float) -> CaseFigures:
        """Return what was found, with the machine's peak known."""
        ours, case = self._ours, self._case
        best = min(self._rivals, key=lambda rival: rival.entrant.seconds)
        operations = must_compute(case.shape, self._work, case.rank)
        return CaseFigures(
            name=case.name,
            model=case.model,
            vocab=case.shape.vocabulary,
            mode=case.mode,
            tokens_per_s=self._tokens / ours.seconds,
            trained_tokens_per_s=self._work.trained / ours.seconds,
            peak_rss_mb=ours.peak_mb,
            speedup_vs_best_peer=best.speedup,
            memory_ratio=ours.peak_mb / best.entrant.peak_mb,
            utilisation=operations / (ours.seconds * peak_gflops * 1e9),
            best_peer=best.peer.name,
            pairs=len(best.ours),
            setup_s=ours.contender.setup_s,
            parameters=self._parameters,
            trained_parameters=int(ours.contender.ready["parameters"]),
            rows=self._rows,
            steps=self._steps,
            tokens=self._tokens,
            trained_tokens=self._work.trained,
            gflop=operations / 1e9,
            limit_tokens_per_s=self._tokens * peak_gflops * 1e9 / operations,
            first_loss=ours.contender.ready["first_loss"],
            peers=tuple(self._peer_figures(rival) for rival in self._rivals),
        )

    def _peer_figures(self, rival: _Rival) -> PeerFigures:
        entrant = rival.entrant
        return PeerFigures(
            name=rival.peer.name,
            settings=rival.peer.settings,
            trained_positions_only=rival.peer.trained_positions_only,
            tokens_per_s=self._tokens / entrant.seconds,
            trained_tokens_per_s=self._work.trained / entrant.seconds,
            peak_rss_mb=entrant.peak_mb,
            speedup=rival.speedup,
            pairs=len(rival.ours),
            setup_s=entrant.contender.setup_s,
            loss_difference=entrant.contender.ready["first_loss"] - self._ours.contender.ready["first_loss"],
        )

    # --- before and between segments ------------------------------------------------------

    def _write(self) -> None:
        """Write the model and the rows that everybody begins from."""
        from realm.models.blank import BLANKS, SpecialIds
        from realm.models.files import save

        shape, words = self._case.shape, tokenizer()
        special = SpecialIds(end=words.eos_token_id, pad=words.pad_token_id)
        kind = {"kind": "qwen3", **shape.model_dump(exclude={"vocabulary"})}
        model = BLANKS.build(kind).build(shape.vocabulary, special, 0)
        self._parameters = model.num_parameters()
        (self._folder / "model").mkdir()
        save(model, words, self._folder / "model")
        with (self._folder / "examples.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(
                example.model_dump_json(exclude_defaults=True) + "\n" for example in chats(self._rows)
            )
        labels = [
            [token if trained else -100 for token, trained in zip(row.ids.tolist(), row.trained, strict=True)]
            for row in self._encoded
        ]
        rows = {"input_ids": [row.ids.tolist() for row in self._encoded], "labels": labels}
        (self._folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")

    def _enter(self, stack: ExitStack, name: str, peer: Peer | None) -> _Entrant:
        """Start a contender and see that it begins where we do."""
        self._say(f"{name}: setting up")
        own = self._folder / name.replace(" ", "_").replace(",", "")
        own.mkdir()
        spec = own / "spec.json"
        spec.write_text(self._spec(own, peer).model_dump_json(indent=1), encoding="utf-8")
        command = (
            [sys.executable, "-P", "-m", "realm.bench.ours", str(spec)]
            if peer is None
            else [str(self._plan.python), "-I", str(self._plan.script), str(spec)]
        )
        contender = stack.enter_context(
            Contender(name, command, _environment(self._plan, own), own / "log.txt")
        )
        if peer is not None:
            refuse_other_start(name, contender.ready, self._ours.contender.ready)
        return _Entrant(name, contender)

    def _spec(self, own: Path, peer: Peer | None) -> Spec:
        lora = Lora(
            r=settings.RANK,
            lora_alpha=settings.ALPHA,
            lora_dropout=0.0,
            target_modules=settings.PROJECTIONS,
        )
        return Spec(
            model=str(self._folder / "model"),
            examples=str(self._folder / "examples.jsonl"),
            rows=str(self._folder / "rows.json"),
            steps=self._steps,
            batch_rows=settings.BATCH_ROWS,
            max_tokens=_MAX_TOKENS,
            lora=lora if self._case.mode == "lora" else None,
            learning_rate=settings.LEARNING_RATE,
            betas=settings.BETAS,
            eps=settings.EPS,
            clip_norm=settings.CLIP_NORM,
            threads=self._plan.threads,
            scratch=str(own),
            settings=peer.settings if peer else {},
            trained_positions_only=bool(peer and peer.trained_positions_only),
        )

    def _train(self, entrant: _Entrant) -> float:
        """Have a segment trained; refuse it if it is not what everybody trains."""
        seconds = entrant.train(self._say)
        expected = {"tokens": self._tokens, "trained_tokens": self._work.trained}
        refuse_other_tokens(entrant.name, entrant.segments[-1].answer, expected)
        return seconds

    def _keep_the_fast(self, rivals: Sequence[_Rival]) -> Iterator[_Rival]:
        """Yield those that may still be the fastest; the others leave, and their memory with them."""
        fastest = min(rival.entrant.seconds for rival in rivals)
        for rival in rivals:
            if rival.entrant.seconds <= _PATIENCE * fastest:
                yield rival
            else:
                rival.entrant.contender.close()


def refuse_other_start(name: str, theirs: Mapping[str, float], ours: Mapping[str, float]) -> None:
    """Raise RefusedError unless a peer begins with our loss and trains as many parameters."""
    if not abs(theirs["first_loss"] - ours["first_loss"]) <= LOSS_TOLERANCE:
        raise _unequal(name, "loss before the first step", theirs["first_loss"], ours["first_loss"])
    if theirs["parameters"] != ours["parameters"]:
        raise _unequal(name, "trained parameters", theirs["parameters"], ours["parameters"])


def refuse_other_tokens(name: str, answer: Mapping[str, float], expected: Mapping[str, int]) -> None:
    """Raise RefusedError unless a segment has exactly the expected tokens and trained tokens."""
    for what, count in expected.items():
        if answer[what] != count:
            raise _unequal(name, what.replace("_", " "), answer[what], count)


def _encode(rows: int) -> list[Encoded]:
    encoded = encode_many(tokenizer(), chats(rows), _MAX_TOKENS)
    assert all(row.full_tokens <= _MAX_TOKENS for row in encoded)
    return encoded


def _unequal(name: str, what: str, theirs: float, ours: float) -> RefusedError:
    return RefusedError(
        f"{name} does not train what we train: its {what}: {theirs}, ours: {ours}",
        hint="the comparison would mean nothing; nothing was reported",
    )


def _environment(plan: Plan, scratch: Path) -> dict[str, str]:
    """Return the environment that every contender gets, ours included."""
    # realm.models, imported with this module, has set how OpenMP waits.
    fixed = {
        "OMP_NUM_THREADS": str(plan.threads),
        "HF_HOME": str(scratch / "hub"),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    return {**child_environment(os.environ), **fixed}


def _machine(threads: int, peak: float, rates: dict[str, float]) -> Machine:
    return Machine(
        cpu=_cpu(),
        cores=psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        threads=threads,
        gemm_gflops=peak,
        gemm_shapes=rates,
        torch=version("torch"),
        python=platform.python_version(),
        system=platform.platform(),
        peers=requirements(),
    )


def _cpu() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()
