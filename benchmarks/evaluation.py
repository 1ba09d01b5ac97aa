"""Time an evaluation against one-by-one `transformers.generate` on the same models and problems.

Both answer and grade the same held-out problems of BIN level 5, greedily, on one thread, in turns; ours
also computes the loss of the right answers. Prints one JSON document: problems a second of CPU time, medians.
The models are blank, so every answer runs to its longest; their weights do not change what a token costs.

.venv/bin/python benchmarks/evaluation.py --problems 60 --repeats 3
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

from realm.core.events import AnswersGraded, Event
from realm.core.hashing import hash_bytes
from realm.evaluation.child import EvaluateJob, evaluate
from realm.evaluation.suite import Sampling, Suite, build_suite
from realm.models.blank import BLANKS, SpecialIds
from realm.models.chat import prompt_ids
from realm.models.engines.transformers import Transformers
from realm.models.files import Loaded
from realm.models.tokenizer import train_tokenizer
from realm.skills.catalogue.bin import Bin

SHAPES = {
    "1.2M": {"hidden_size": 160, "layers": 3, "heads": 4, "kv_heads": 4, "intermediate_size": 576},
    "6M": {
        "hidden_size": 256,
        "layers": 6,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 64,
        "intermediate_size": 896,
    },
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--problems", type=int, default=60, help="answered one by one; a suite has all")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--tokens", type=int, nargs="+", default=[16, 64], help="longest answers")
    given = arguments.parse_args()
    skill = Bin(Bin.Config(answer="result", digit_order="lsb", pad_digits=6))
    figures: dict[str, Any] = {}
    for name, shape in SHAPES.items():
        loaded = _model(skill, {"kind": "qwen3", "head_dim": 40, **shape})
        for tokens in given.tokens:
            suite = build_suite(skill, 5, 40).model_copy(update={"sampling": Sampling(max_tokens=tokens)})
            figures[f"{name}, {tokens} tokens"] = _measure(
                skill, loaded, suite, given.problems, given.repeats
            )
    print(json.dumps(figures, indent=2))


def _model(skill: Bin, shape: dict[str, Any]) -> Loaded:
    import torch

    torch.set_num_threads(1)
    texts, alphabet = skill.vocabulary()
    tokenizer = train_tokenizer(texts[:2000], 512, alphabet)
    special = SpecialIds(end=tokenizer.eos_token_id, pad=tokenizer.pad_token_id)
    return Loaded(
        model=BLANKS.build(shape).build(len(tokenizer), special, seed=0).eval(), tokenizer=tokenizer
    )


def _measure(skill: Bin, loaded: Loaded, suite: Suite, problems: int, repeats: int) -> dict[str, Any]:
    batched, single = list[float](), list[float]()
    for _ in range(repeats):
        batched.append(len(suite.problems) / _evaluation(loaded, suite))
        few = suite.model_copy(
            update={"problems": suite.problems[:: len(suite.problems) // problems][:problems]}
        )
        single.append(len(few.problems) / _one_by_one(skill, loaded, few))
    ours, theirs = statistics.median(batched), statistics.median(single)
    return {
        "parameters": sum(weights.numel() for weights in loaded.model.parameters()),
        "problems": len(suite.problems),
        "evaluation_per_s": round(ours, 1),
        "one_by_one_per_s": round(theirs, 1),
        "ratio": round(ours / theirs, 1),
        "ratios": [round(a / b, 1) for a, b in zip(batched, single, strict=True)],
    }


def _evaluation(loaded: Loaded, suite: Suite) -> float:
    told: list[Event] = []
    job = EvaluateJob(run="b", checkpoint=hash_bytes(b""), folder="", suites=(suite,), events=str(Path()))
    begun = time.process_time()
    evaluate(job, Transformers(loaded), told.append)
    seconds = time.process_time() - begun
    assert sum(len(e.results) for e in told if isinstance(e, AnswersGraded)) == len(suite.problems)
    return seconds


def _one_by_one(skill: Bin, loaded: Loaded, suite: Suite) -> float:
    import torch

    end = loaded.tokenizer.eos_token_id
    begun = time.process_time()
    for problem in suite.problems:
        ids = torch.tensor(prompt_ids(loaded.tokenizer, [problem.messages]))
        with torch.inference_mode():
            written = loaded.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=suite.max_tokens,
                do_sample=False,
                pad_token_id=end,
            )
        skill.grade(problem, loaded.tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True))
    return time.process_time() - begun


if __name__ == "__main__":
    main()
