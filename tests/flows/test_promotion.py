"""The whole wheel once: a tiny model learns, passes the gate and reigns; a worse one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from realm import Realm
from realm.cli.main import run
from realm.core.events import Evaluated, GateDecided, Promoted
from realm.flows.drills import queue_drills
from realm.flows.judging import stored_decision
from tiny_lab import job_state, make_lab

SAID = {"fire": "hot", "ice": "cold", "sky": "high", "sea": "deep"}
"""What a primitive asks about, and the one word that is right whatever the number."""
SKILL = {
    "id": "words",
    "name": "Words",
    "templates": [
        {
            "prompt": f"{{n}} {thing}",
            "answer": word,
            "operands": {"n": {"low": 100, "high": 299}},
            "primitive": thing,
        }
        for thing, word in SAID.items()
    ],
}
BIN = "bin: {kind: bin, digit_order: lsb, pad_digits: 6, answer: result}"
SECTION = "curriculum:\n  problems_per_primitive: 30\n  probe_per_primitive: 2\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, one_launcher: None) -> Path:
    """Return a lab with a champion, to which a file then taught the wrong answers."""
    home = make_lab(tmp_path_factory.mktemp("promotion") / "home", drills=False, rows=960)
    (home / "skills").mkdir()
    (home / "skills" / "words.yaml").write_text(yaml.safe_dump(SKILL))
    text = (home / "realm.yaml").read_text()
    assert BIN in text
    text = text.replace(BIN, "words: {kind: file, path: skills/words.yaml}")
    text = text.replace("evaluations: 3", "evaluations: 1").replace("curriculum:\n", SECTION, 1)
    (home / "realm.yaml").write_text(text)
    recipe = home / "recipes" / "spark.yaml"
    recipe.write_text(recipe.read_text().replace("every_steps: 4", "every_steps: 10"))
    with Realm(home) as lab:
        file = wrong_answers(lab, home.parent / "wrong.jsonl")
        jobs: list[str] = []

        def over() -> bool:
            if lab.lab.queue.idle() and lab.champion() is None:
                assert len(queue_drills(lab.lab)) == 1
                assert len(lab.runs()) < 8
            elif lab.champion() is not None and not jobs:
                jobs.append(lab.add(file).id)
            return bool(jobs) and job_state(lab, jobs[0]) in ("done", "failed")

        lab.up(over)
        assert job_state(lab, jobs[0]) == "done"
    return home


def wrong_answers(lab: Realm, path: Path) -> Path:
    """Write training problems of the skill with the answers of others."""
    wrong = dict(zip(SAID.values(), [*list(SAID.values())[1:], "hot"], strict=True))
    rows = [
        [{"role": said.role, "content": wrong.get(said.content, said.content)} for said in problem.solved()]
        for problem in lab.skill("words").drills(1, 80, weights=dict.fromkeys(SAID, 1.0), seed=1)
    ]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return path


def test_a_model_that_learns_passes_the_gate_and_reigns(home: Path) -> None:
    with Realm(home) as lab:
        ledger = lab.lab.ledger
        champion = ledger.models.champion("first", "dio")
        assert champion is not None
        assert (champion.model.name, champion.model.version) == ("dio-v1", 1)
        [promoted] = [e for _, _, e in ledger.events.list(["promoted"]) if isinstance(e, Promoted)]
        assert promoted.hash == champion.model.checkpoint == lab.checkpoint("dio@champion").hash
        first = stored_decision(lab.lab, "dio-v1")
        assert (first.champion, first.decision.passed, first.decision.total) == (None, True, 120)
        stored = lab.evaluations(promoted.hash)
        assert [(e.correct, e.total) for e in stored if e.kind == "level"] == [(first.decision.correct, 120)]
        passes = [e.passed for _, _, e in ledger.events.list(["evaluated"]) if isinstance(e, Evaluated)]
        before = [c for c in lab.checkpoints() if 0 < c.hero_step < promoted.hero_step]
        assert passes[: len(before) + 1] == [False] * len(before) + [True]
        conversation = lab.chat("dio@champion")
        assert {thing: conversation.ask(f"123 {thing}") for thing in SAID} == SAID


def test_a_worse_model_is_refused_with_reasons_and_the_champion_stays(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Realm(home) as lab:
        ledger, worse = lab.lab.ledger, lab.checkpoint("dio@latest")
        assert lab.champion() == "dio-v1"
        found = {model.name: (model.checkpoint, model.status) for model in lab.models()}
        assert found["dio-v2"] == (worse.hash, "candidate")
        told = [e for _, _, e in ledger.events.list(["gate_decided"]) if isinstance(e, GateDecided)]
        assert [e.passed for e in told] == [True, False]
        assert told[-1].checkpoint == worse.name
        kept = stored_decision(lab.lab, "dio-v2")
        assert (kept.champion, kept.decision.passed, kept.decision.reasons) == (
            "dio-v1",
            False,
            told[-1].reasons,
        )
        assert kept.decision.correct < 0.8 * kept.decision.total
        refused = {check.name for check in kept.decision.checks if not check.passed}
        assert {"champion", "category/words"} <= refused
        assert [p.outcome for p in ledger.models.promotions("first", "dio")] == ["refused", "promoted"]
    assert run(["--home", str(home), "gate", "dio-v2", "--stored"]) == 1
    out = capsys.readouterr().out
    assert "against dio-v1, decided" in out
    assert all(reason in out for reason in kept.decision.reasons)
