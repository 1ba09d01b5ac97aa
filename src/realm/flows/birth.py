"""Bring a hero into being at step 0: blank, with its own tokenizer, or from a folder's model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from realm.core.events import CheckpointStaged, Emit, Event
from realm.core.paths import expanded
from realm.core.records import ArtifactKind, Record
from realm.core.seeds import seed
from realm.flows.checkpoints import none_intact, publish_checkpoint
from realm.flows.children import Supervisor, persist
from realm.flows.context import Lab
from realm.jobs.edge import run_told
from realm.ledger.records import CheckpointRecord

BASIC_TEXTS = ("The quick brown fox jumps over the lazy dog.", "0 1 2 3 4 5 6 7 8 9", "yes no true false")


class BirthJob(Record):
    """What a birth needs."""

    run: str
    blank: dict[str, Any] | None
    base: str | None
    vocabulary_size: int
    seed: int
    texts: tuple[str, ...]
    alphabet: tuple[str, ...]
    stage: str
    events: str


def main(spec_path: Path) -> int:
    """Build the model in a child process and stage it."""
    job = BirthJob.model_validate_json(spec_path.read_bytes())
    return run_told(job.run, Path(job.events), lambda emit: build(job, emit))


def build(job: BirthJob, emit: Emit) -> None:
    """Write the first weights and the tokenizer into the stage and tell it."""
    if job.base is not None:
        from realm.models.adoption import adopt

        adopt(Path(job.base), Path(job.stage))
    else:
        _draw(job)
    emit(CheckpointStaged(run=job.run, stage=job.stage, step=0, hero_step=0, stats={}, final=True))


def _draw(job: BirthJob) -> None:
    """Train the tokenizer and draw the weights."""
    from realm.models.blank import BLANKS, SpecialIds
    from realm.models.files import save
    from realm.models.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(job.texts, job.vocabulary_size, alphabet=job.alphabet)
    special = SpecialIds(end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    model = BLANKS.build(job.blank).build(len(tokenizer), special, job.seed)
    save(model, tokenizer, Path(job.stage))


async def ensure_base(supervisor: Supervisor) -> CheckpointRecord:
    """Return the hero's latest checkpoint; build its step-0 checkpoint when it has none yet.

    Raises CorruptError where it has some, and all are damaged.
    """
    lab = supervisor.lab
    found = lab.ledger.checkpoints.latest(lab.campaign, lab.hero_name)
    if found is not None:
        return found
    if lab.ledger.checkpoints.count(lab.campaign, lab.hero_name):
        raise none_intact(lab)
    return await bear(supervisor)


async def bear(supervisor: Supervisor) -> CheckpointRecord:
    """Build the hero's step-0 checkpoint as its config says now."""
    deaths = supervisor.lab.config.worker.child_deaths
    return await persist(lambda: _bear(supervisor), lambda: None, deaths)


async def _bear(supervisor: Supervisor) -> CheckpointRecord:
    lab = supervisor.lab
    run = f"birth-{lab.campaign}-{lab.hero_name}"
    fence = lab.ledger.fences.take(run)
    saved: list[CheckpointRecord] = []

    def on_event(event: Event) -> None:
        if isinstance(event, CheckpointStaged):
            saved.append(publish_checkpoint(lab, event, run=None, fence=fence))

    await supervisor.follow("realm.flows.birth:main", _job(lab, run), run, on_event=on_event)
    return saved[0]


def _job(lab: Lab, run: str) -> BirthJob:
    texts, alphabet = list(BASIC_TEXTS), list("0123456789")
    for name in lab.hero.skills:
        skill_texts, skill_alphabet = lab.skill(name).vocabulary()
        texts += skill_texts
        alphabet += [character for character in skill_alphabet if character not in alphabet]
    return BirthJob(
        run=run,
        blank=lab.hero.blank.model_dump(mode="json") if lab.hero.blank else None,
        base=str(lab.home.root / expanded(lab.hero.base)) if lab.hero.base else None,
        vocabulary_size=lab.hero.vocabulary_size,
        seed=seed("birth", lab.campaign, lab.hero_name, lab.hero.seed),
        texts=tuple(texts),
        alphabet=tuple(alphabet),
        stage=str(lab.store.stage(ArtifactKind.CHECKPOINT)),
        events=str(lab.home.events(run)),
    )
