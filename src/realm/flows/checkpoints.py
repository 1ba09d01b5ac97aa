"""Publish a staged checkpoint, set a damaged one aside, and find one by the name a person gives it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from realm.core.clock import iso
from realm.core.errors import ConfigError, CorruptError, NotFoundError, UsageError
from realm.core.events import CheckpointSaved, CheckpointSetAside, CheckpointStaged
from realm.core.records import ArtifactKind, ArtifactRef, Fence
from realm.flows.appraisal import asked_as
from realm.flows.context import Lab
from realm.ledger.records import CheckpointRecord, NewCheckpoint
from realm.models.adapters import read_base

ACCURACY = "accuracy"


def publish_checkpoint(
    lab: Lab, staged: CheckpointStaged, *, run: str | None, fence: Fence
) -> CheckpointRecord:
    """Publish a stage that a child has finished, write its ledger row, tell the watcher."""
    now = lab.clock()
    sequence = lab.ledger.checkpoints.next_sequence(lab.campaign)
    sidecar = {
        "name": lab.ledger.checkpoints.name_for(staged.hero_step, now),
        "campaign": lab.campaign,
        "hero": lab.hero_name,
        "sequence": sequence,
        "run": run,
        "step": staged.step,
        "hero_step": staged.hero_step,
        "stats": staged.stats,
        "saved_at": iso(now),
    }

    def commit(ref: ArtifactRef) -> CheckpointRecord:
        return lab.ledger.checkpoints.add(
            NewCheckpoint(
                campaign=lab.campaign,
                hero=lab.hero_name,
                hash=ref.hash,
                size_bytes=ref.size_bytes,
                run=run,
                step=staged.step,
                hero_step=staged.hero_step,
                stats=staged.stats,
                sequence=sequence,
                created_at=now,
            ),
            fence,
        )

    record = lab.store.publish(Path(staged.stage), ArtifactKind.CHECKPOINT, commit, sidecar=sidecar)
    lab.emit(
        CheckpointSaved(
            run=run or "",
            name=record.name,
            hash=record.hash,
            sequence=record.sequence,
            hero_step=record.hero_step,
            loss=staged.stats.get("loss"),
        )
    )
    return record


def verified_checkpoint(lab: Lab, checkpoint: CheckpointRecord) -> str:
    """Return the folder of a checkpoint after re-hashing every byte of it. Raises CorruptError."""
    found = damage(lab, checkpoint)
    if found:
        raise CorruptError(
            f"{checkpoint.name} is damaged: {found}",
            hint=f"restore {_folder(lab, checkpoint)} from a copy, or name another: see `realm ledger list`",
        )
    return str(lab.store.path(ArtifactKind.CHECKPOINT, checkpoint.hash))


def damage(lab: Lab, checkpoint: CheckpointRecord, *, rehash: bool = True) -> str:
    """Return what is wrong with a checkpoint's files, in words; empty where they are sound.

    Without `rehash` only its manifest is looked at, not every byte.
    """
    check = lab.store.verified if rehash else lab.store.described
    try:
        check(ArtifactKind.CHECKPOINT, checkpoint.hash)
    except CorruptError as error:
        return error.what
    except NotFoundError:
        return checkpoint.damage or f"{_folder(lab, checkpoint)}: it is missing"
    return ""


def set_aside(lab: Lab, checkpoint: CheckpointRecord, found: str) -> None:
    """Move a damaged checkpoint into the quarantine; the ledger offers it as latest or best no longer.

    Nothing is deleted: once its folder is restored, the next start takes it in again.
    """
    mark = partial(lab.ledger.checkpoints.mark_damaged, checkpoint.hash, found)
    lab.store.set_aside(ArtifactKind.CHECKPOINT, checkpoint.hash, found, mark)


def tell_set_aside(lab: Lab, checkpoint: CheckpointRecord, found: str, consequence: str) -> None:
    """Tell that a checkpoint was set aside, and what is done in its place."""
    lab.emit(
        CheckpointSetAside(
            hero=checkpoint.hero,
            checkpoint=checkpoint.name,
            hash=checkpoint.hash,
            hero_step=checkpoint.hero_step,
            damage=found,
            consequence=consequence,
        )
    )


def none_intact(lab: Lab) -> CorruptError:
    """Return the error for a hero all of whose checkpoints are damaged."""
    newest = lab.ledger.checkpoints.list(lab.campaign, lab.hero_name, limit=1)[-1]
    return CorruptError(
        f"no checkpoint of {lab.hero_name} is intact; the newest, {newest.name}: {damage(lab, newest)}",
        hint=f"restore {_folder(lab, newest)} or an older one from a copy and start again; "
        "`realm ledger list` names them all",
    )


def _folder(lab: Lab, checkpoint: CheckpointRecord) -> Path:
    return lab.store.folder(ArtifactKind.CHECKPOINT, checkpoint.hash)


def refuse_foreign(lab: Lab, frozen: Sequence[str], base: str) -> None:
    """Raise ConfigError unless these adapters are in the vault and belong to the checkpoint `base`.

    What a run saves names them by hash alone, and is loaded from the vault.
    """
    for content in frozen:
        try:
            below = read_base(lab.store.path(ArtifactKind.CHECKPOINT, content))
        except NotFoundError:
            raise ConfigError(
                f"parameters.frozen: {content} is not in this realm's vault",
                hint="name an adapter that a run of this realm has saved",
            ) from None
        if below is None or below.base != base:
            belongs = "is a whole model" if below is None else f"is an adapter of {below.base}"
            raise ConfigError(
                f"parameters.frozen: {content} {belongs}, and this run begins from {base}",
                hint="name an adapter that was trained on that base",
            )


def chosen(lab: Lab, reference: str | None) -> CheckpointRecord:
    """Return what a name means; without one the champion, else the latest checkpoint."""
    return resolve(lab, usual(lab) if reference is None else reference)


def usual(lab: Lab) -> str:
    """Return the name of the model that is meant where none is said: the champion, else the latest."""
    champion = lab.ledger.models.champion(lab.campaign, lab.hero_name)
    return f"{lab.hero_name}@{'champion' if champion else 'latest'}"


def resolve(lab: Lab, reference: str) -> CheckpointRecord:
    """Return the checkpoint that a name means.

    `HERO@champion`, `HERO@latest`, `HERO@STEP`, `HERO@0` (the base), `HERO@best:METRIC`, a
    registered version such as `dio-v2`, or a content hash or a unique prefix of one. Never
    another than the one asked for: a name that does not resolve is an error.
    """
    hero, at, selector = reference.partition("@")
    if at:
        return _of_hero(lab, hero, selector)
    if reference in {model.name for model in lab.ledger.models.list()}:
        return lab.ledger.checkpoints.get(lab.ledger.models.get(reference).checkpoint)
    if reference.startswith("sha256:") or all(c in "0123456789abcdef" for c in reference):
        return lab.ledger.checkpoints.get(reference)
    raise _unknown(lab, reference)


def _of_hero(lab: Lab, hero: str, selector: str) -> CheckpointRecord:
    lab.config.hero(hero)
    checkpoints = lab.ledger.checkpoints
    found: CheckpointRecord | None = None
    if selector == "champion":
        champion = lab.ledger.models.champion(lab.campaign, hero)
        found = checkpoints.get(champion.model.checkpoint) if champion else None
    elif selector == "latest":
        found = checkpoints.latest(lab.campaign, hero)
    elif selector.isdecimal():
        found = checkpoints.by_step(lab.campaign, hero, int(selector))
    elif selector.startswith("best:"):
        found = _best(lab, hero, selector.removeprefix("best:"))
    elif "+" in selector:
        raise UsageError(f"{hero}@{selector}: this hero has no adapters", hint=f"try {hero}@latest")
    if found is None:
        raise _unknown(lab, f"{hero}@{selector}")
    return found


def _best(lab: Lab, hero: str, metric: str) -> CheckpointRecord | None:
    """Return the best checkpoint by accuracy or by a loss at saving; of equals, the newest."""
    if metric.endswith("loss"):
        return lab.ledger.checkpoints.lowest(lab.campaign, hero, metric)
    if metric == ACCURACY:
        return _most_accurate(lab, hero)
    raise NotFoundError(
        f"no metric {metric!r} tells a better checkpoint",
        hint=f"there are: {ACCURACY}, and losses at saving, such as loss",
    )


def _most_accurate(lab: Lab, hero: str) -> CheckpointRecord | None:
    """Return who had most right answers among those asked what was asked last, in the same way."""
    found = [each for each in lab.ledger.evaluations.levels(lab.campaign, hero) if each.total]
    alike = [each for each in found if asked_as(each) == asked_as(found[0])]
    shares = {each.checkpoint: each.accuracy or 0.0 for each in alike}
    saved = lab.ledger.checkpoints.list(lab.campaign, hero)
    sound = [each for each in saved if each.hash in shares and not each.damage]
    return max(sound, key=lambda each: (shares[each.hash], each.sequence), default=None)


def _unknown(lab: Lab, reference: str) -> NotFoundError:
    names = []
    for hero in lab.config.heroes:
        if lab.ledger.models.champion(lab.campaign, hero):
            names.append(f"{hero}@champion")
        recent = lab.ledger.checkpoints.list(lab.campaign, hero, limit=5)
        names += [f"{hero}@{checkpoint.hero_step}" for checkpoint in recent if not checkpoint.damage]
        if lab.ledger.checkpoints.latest(lab.campaign, hero):
            names.append(f"{hero}@latest")
    models = [model.name for model in lab.ledger.models.list()]
    listed = ", ".join(names + models) or "none yet: start the lab with `realm up`"
    return NotFoundError(f"no model is called {reference!r}", hint=f"there are: {listed}")
