"""Time near-duplicate search on one core and check its finds; print one JSON document.

Texts of about 1 KB are drawn from a made-up lexicon with word frequencies like those of prose. To some
a copy is planted with words replaced, so that the pair's similarity is just above the threshold, or
just below it. Recall is over the planted pairs whose exact similarity, computed apart from the index,
reaches the threshold; a false pair is one that the index reports and whose similarity does not reach it.
CPU time of this process.

.venv/bin/python benchmarks/near.py --texts 20000 --repeats 3
.venv/bin/python benchmarks/near.py --texts 100000 --planted 0.1 --backend numpy
"""

from __future__ import annotations

import os

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import itertools
import json
import statistics
import time
from random import Random

from realm.core.seeds import rng
from realm.corpus.duplicates.near import NearConfig, NearIndex, Text
from realm.corpus.texts.wording import words

LEXICON = 20_000
TEXT_WORDS = 170


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("--texts", type=int, default=20_000)
    arguments.add_argument("--planted", type=float, default=0.05, help="copies, as a share of the texts")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--backend", choices=["rensa", "numpy"], action="append")
    given = arguments.parse_args()
    texts, planted = corpus(given.texts, int(given.texts * given.planted))
    config = NearConfig()
    due = {pair for pair in planted if similarity(texts[pair[0]], texts[pair[1]], config) >= config.threshold}
    backends = given.backend or ["rensa", "numpy"]
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in backends}
    found: dict[str, set[tuple[int, int]]] = {}
    for _ in range(given.repeats):
        for name in backends:
            taken, found[name] = search(texts, config.model_copy(update={"backend": name}))
            seconds[name].append(taken)
    print(
        json.dumps(
            {
                "texts": len(texts),
                "mean_bytes": round(sum(len(text.encode()) for text in texts) / len(texts)),
                "planted": len(planted),
                "planted_near": len(due),
                "backends": {
                    name: {
                        "texts_per_s": round(
                            len(texts) / statistics.median(sum(taken) for taken in seconds[name])
                        ),
                        "adding_s": round(statistics.median(taken[0] for taken in seconds[name]), 3),
                        "finding_s": round(statistics.median(taken[1] for taken in seconds[name]), 3),
                        "recall": round(len(due & found[name]) / len(due), 5) if due else None,
                        "false_pairs": sum(
                            similarity(texts[one], texts[two], config) < config.threshold
                            for one, two in found[name]
                        ),
                    }
                    for name in backends
                },
            },
            indent=2,
        )
    )


def search(texts: list[str], config: NearConfig) -> tuple[tuple[float, float], set[tuple[int, int]]]:
    """Return the seconds of adding and of finding, and the pairs."""
    with NearIndex(config) as index:
        began = time.process_time()
        for text in texts:
            index.add(Text("", text))
        added = time.process_time()
        pairs = {(pair.first, pair.second) for pair in index.pairs()}
        return (added - began, time.process_time() - added), pairs


def corpus(count: int, copies: int) -> tuple[list[str], list[tuple[int, int]]]:
    """Return texts, the last `copies` of them made of earlier ones, and the pairs of places."""
    draw = rng("bench/near")
    lexicon = [
        "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(LEXICON)
    ]
    shares = list(itertools.accumulate(1 / (rank + 3) for rank in range(LEXICON)))
    base = [draw.choices(lexicon, cum_weights=shares, k=TEXT_WORDS) for _ in range(count - copies)]
    pairs = []
    for copy in range(copies):
        origin = draw.randrange(len(base))
        pairs.append((origin, count - copies + copy))
        base.append(
            changed(base[origin], draw.choice([0.005, 0.01, 0.02, 0.03, 0.035, 0.04, 0.05]), lexicon, draw)
        )
    return [" ".join(text) for text in base], pairs


def changed(text: list[str], share: float, lexicon: list[str], draw: Random) -> list[str]:
    """Return the words with a share of them replaced, at least one."""
    copy = list(text)
    for at in draw.sample(range(len(copy)), max(1, round(share * len(copy)))):
        copy[at] = draw.choice(lexicon)
    return copy


def similarity(one: str, two: str, config: NearConfig) -> float:
    """Return the Jaccard similarity of two texts' runs of words, by plain sets."""
    first, second = (
        {tuple(found)}
        if len(found := words(text)) < config.run_words
        else {tuple(found[i : i + config.run_words]) for i in range(len(found) - config.run_words + 1)}
        for text in (one, two)
    )
    return len(first & second) / len(first | second)


if __name__ == "__main__":
    main()
