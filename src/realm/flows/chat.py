"""Talk to a model that is loaded into this very process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from realm.core.records import Message
from realm.flows.checkpoints import chosen, verified_checkpoint
from realm.flows.context import Lab
from realm.flows.plan import profile_of
from realm.ledger.records import CheckpointRecord
from realm.models.extra import require_training_extra
from realm.models.files import load
from realm.models.generator import Generator
from realm.models.profile import PROFILES

MAX_TOKENS = 256


class Conversation:
    """Turns with one model; the same one from beginning to end."""

    def __init__(
        self,
        checkpoint: CheckpointRecord,
        generator: Generator,
        *,
        system: tuple[Message, ...],
        remembers: bool,
    ) -> None:
        self.checkpoint = checkpoint
        self.generator = generator
        self.messages = list(system)
        self._system = system
        self._remembers = remembers

    @classmethod
    def begin(cls, lab: Lab, reference: str | None = None) -> Conversation:
        """Load the model a name means; without a name the champion, else the latest checkpoint."""
        checkpoint = chosen(lab, reference)
        folder = Path(verified_checkpoint(lab, checkpoint))
        require_training_extra()
        from realm.models.engines.transformers import Transformers

        system = next((lab.skill(name).system for name in lab.hero.skills), ())
        loaded = load(folder)
        profile = PROFILES.build(profile_of(lab, checkpoint))
        generator = Transformers(loaded, profile.logits_processors(loaded.tokenizer))
        return cls(checkpoint, generator, system=system, remembers=lab.hero.remembers)

    def stream(self, question: str, *, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        """Yield the answer in pieces, and remember the turn when it is complete."""
        if not self._remembers:
            self.messages = list(self._system)
        self.messages.append(Message(role="user", content=question))
        answer = ""
        for piece in self.generator.stream(
            self.messages, max_tokens=MAX_TOKENS, temperature=temperature, seed=seed
        ):
            answer += piece
            yield piece
        self.messages.append(Message(role="assistant", content=answer))

    def ask(self, question: str, *, temperature: float = 0.0, seed: int = 0) -> str:
        """Return the whole answer."""
        return "".join(self.stream(question, temperature=temperature, seed=seed))
