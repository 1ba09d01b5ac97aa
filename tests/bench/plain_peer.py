"""A peer for tests: a plain loop over transformers' own padded forward pass.

Its setting `first_loss` makes it tell that loss, and train nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from realm.bench.pipe import Pipe
from realm.bench.turns import Device

spec = json.loads(Path(sys.argv[1]).read_bytes())
settings = spec["settings"]
pipe, device = Pipe(), Device(spec["device"])
if "first_loss" in settings:
    pipe.tell({"imported": True})
    pipe.tell({"ready": {"first_loss": settings["first_loss"], "parameters": 0}})
    pipe.serve(dict, {"wake": lambda: None, "rest": lambda: None})
    sys.exit()

import torch  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

print("libraries may print what they like")
torch.set_num_threads(spec["threads"])
pipe.tell({"imported": True})
model = AutoModelForCausalLM.from_pretrained(spec["model"])
if spec["lora"]:
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **spec["lora"]))
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=spec["learning_rate"], weight_decay=spec["weight_decay"])
data = json.loads(Path(spec["rows"]).read_bytes())
rows = list(zip(data["input_ids"], data["labels"], strict=True))


def loss(batch: list[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, int]:
    """Return the summed loss of a batch, and its trained tokens."""
    width = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
    labels = torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in batch])
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in batch])
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
    total = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
    return total, int((labels[:, 1:] != -100).sum())


def segment() -> dict[str, int]:
    """Train every row once."""
    counts = {"tokens": sum(len(ids) for ids, _ in rows), "trained_tokens": 0}
    for begin in range(0, len(rows), spec["batch_rows"]):
        total, places = loss(rows[begin : begin + spec["batch_rows"]])
        optimizer.zero_grad()
        (total / places).backward()
        torch.nn.utils.clip_grad_norm_(trained, spec["clip_norm"])
        optimizer.step()
        counts["trained_tokens"] += places
    return counts


with torch.no_grad():
    total, places = loss(rows)
first_loss = float(total) / places
pipe.tell({"ready": {"first_loss": first_loss, "parameters": sum(p.numel() for p in trained)}})
held = (model, optimizer)
pipe.serve(segment, {"wake": lambda: device.wake(*held), "rest": lambda: device.rest(*held)})
