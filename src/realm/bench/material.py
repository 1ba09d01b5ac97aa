"""What all contenders of a case begin from: the model, the chats, and what each of them is told."""

from __future__ import annotations

import json
from pathlib import Path

from realm.bench.cases import Case, Peer
from realm.bench.chats import chats, long_chats, tokenizer
from realm.bench.flops import work_of
from realm.bench.spec import Spec
from realm.models.chat import encode_many

_IGNORED = -100
_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


class Material:
    """The chats of a segment, and a folder that holds them beside the model."""

    def __init__(self, case: Case, rows: int, folder: Path) -> None:
        """Draw the chats and encode them; nothing is written yet."""
        self._case = case
        self._folder = folder
        limit = case.recipe.rules.max_tokens
        self._examples = long_chats(rows, case.chat_tokens) if case.chat_tokens else chats(rows)
        self._encoded = encode_many(tokenizer(), self._examples, limit)
        assert all(row.full_tokens <= limit for row in self._encoded)
        self.rows = rows
        self.steps = rows // case.batch_rows
        """Optimizer steps in a segment."""
        self.tokens = sum(len(row.ids) for row in self._encoded)
        self.work = work_of([row.trained.tolist() for row in self._encoded])

    def write(self) -> int:
        """Write the model and the rows; return the model's parameters."""
        import torch

        from realm.models.blank import BLANKS, SpecialIds
        from realm.models.files import save

        case, words = self._case, tokenizer()
        special = SpecialIds(end=words.eos_token_id, pad=words.pad_token_id)
        model = BLANKS.build(case.blank).build(case.vocabulary, special, 0)
        model.to(getattr(torch, _DTYPES[case.weights]))
        (self._folder / "model").mkdir()
        save(model, words, self._folder / "model")
        with (self._folder / "examples.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(
                example.model_dump_json(exclude_defaults=True) + "\n" for example in self._examples
            )
        labels = [
            [
                token if trained else _IGNORED
                for token, trained in zip(row.ids.tolist(), row.trained, strict=True)
            ]
            for row in self._encoded
        ]
        rows = {"input_ids": [row.ids.tolist() for row in self._encoded], "labels": labels}
        (self._folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
        return int(model.num_parameters())

    def spec(self, scratch: Path, peer: Peer | None, threads: int) -> Spec:
        """Return what a contender is told; no peer means our side."""
        case, rules, optimizer = self._case, self._case.recipe.rules, self._case.optimizer
        assert rules.clip_norm is not None
        return Spec(
            model=str(self._folder / "model"),
            examples=str(self._folder / "examples.jsonl"),
            rows=str(self._folder / "rows.json"),
            steps=self.steps,
            batch_rows=case.batch_rows,
            recipe=case.recipe,
            device=case.device,
            lora=case.lora,
            learning_rate=optimizer.learning_rate,
            betas=optimizer.betas,
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
            clip_norm=rules.clip_norm,
            threads=threads,
            scratch=str(scratch),
            settings=peer.settings if peer else {},
            trained_positions_only=bool(peer and peer.trained_positions_only),
        )
