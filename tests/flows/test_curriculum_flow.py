"""How drills are spread over skills, and how a lost level is noticed, in real labs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from realm import Realm
from realm.core.errors import ConfigError, HeldError, NotFoundError, StateError
from realm.core.events import Event, LevelReviewed, LevelSet
from realm.core.hashing import hash_file
from realm.core.records import ArtifactKind
from realm.corpus.dataset import read_examples
from realm.corpus.examining.leakage import eval_hashes
from realm.flows.checking import context_of
from realm.flows.context import Lab
from realm.flows.curriculum import curriculum, set_level, settings_text
from realm.flows.drills import next_drills, queue_drills
from realm.flows.evaluation import level_suite
from realm.flows.report import report
from realm.flows.samples import OfferedSkill
from realm.flows.skills import skill_state, store_skill_state
from realm.flows.worker import Filler
from realm.jobs.queue import JobState
from realm.skills.curriculum.rules import SkillState
from realm.storage.lock import HomeLock
from tiny_lab import make_lab
from tiny_lab import realm as realm_of

FIRST_ROWS = (
    "sha256:9e3e01a0578880267339cbc1c6a18c2b53b20320b2b5bdbbecf7510bfc3bf590",
    "sha256:ef9abfd4ea6de9a61ce7b05554cb278ac630006bd171862ac4e213b5bee3f295",
)
"""Rows of the first two drills of `realm init --template dio` with seed 5."""

THREE = "bin: {kind: bin, digit_order: lsb, pad_digits: 6, answer: result}"
NAMES = ("bin", "wide", "most")


def three_skills(path: Path, section: str = "", rows: int = 200) -> Path:
    """Create a realm whose hero has three skills."""
    home = make_lab(path, drills=True, rows=rows)
    text = (home / "realm.yaml").read_text()
    assert THREE in text
    more = "\n      wide: {kind: bin, pad_digits: 9}\n      most: {kind: bin, answer: result}"
    text = text.replace(THREE, THREE + more).replace(
        "  preset: balanced\n", section or "  preset: balanced\n", 1
    )
    (home / "realm.yaml").write_text(text)
    return home


def rows_of(lab: Lab, job: str) -> Path:
    return lab.store.verified(ArtifactKind.DATASET, lab.ledger.runs.get(job).dataset) / "rows.jsonl"


def put(lab: Lab, skill: str, **changed: object) -> SkillState:
    state = skill_state(lab, skill).model_copy(update=changed)
    store_skill_state(lab, skill, state, None)
    return state


def test_the_drills_of_the_shipped_hero_stay_as_they_are(tmp_path: Path) -> None:
    with Realm.create(tmp_path / "home", "dio", settings={"seed": "5"}) as realm:
        jobs = [job for _ in range(2) for job in queue_drills(realm.lab)]
        assert [job.title for job in jobs] == ["bin level 3 drills"] * 2
        assert tuple(hash_file(rows_of(realm.lab, job.id)) for job in jobs) == FIRST_ROWS


def test_every_skill_gets_its_rows_with_its_own_weakness_and_replay(tmp_path: Path) -> None:
    with Realm(three_skills(tmp_path / "home")) as realm:
        lab = realm.lab
        put(lab, "bin", mastered_level=4, training_level=5)
        names = [p.name for p in lab.skill("wide").level(3).primitives]
        put(lab, "wide", weakness={**dict.fromkeys(names, 0.0), "bitwise_or": 1.0})
        jobs = queue_drills(lab)
        assert [job.title for job in jobs] == [
            "bin level 5 drills",
            "wide level 3 drills",
            "most level 3 drills",
        ]
        found = [list(read_examples(rows_of(lab, job.id).parent)) for job in jobs]
        assert [len(rows) for rows in found] == [200, 200, 200]
        levels = [Counter(row.tags["level"] for row in rows) for rows in found]
        assert {3, 4, 5, 6, 7, 8} == set(levels[0])
        assert levels[0][3] + levels[0][4] == round(200 * 0.1875)
        assert levels[1] == {3: 50, 4: 50, 5: 50, 6: 50}
        wide = Counter(row.tags["primitive"] for row in found[1])
        assert wide["bitwise_or"] == max(wide.values()) > 1.3 * wide["bitwise_and"]
        most = Counter(row.tags["primitive"] for row in found[2])
        assert most["bitwise_or"] < 0.15 * 200  # nobody measured it, so all count alike


def test_strategy_weight_priority_and_switch_decide_the_rows_and_their_order(tmp_path: Path) -> None:
    section = (
        "  strategy: weighted\n  skills: {bin: {enabled: false}, wide: {weight: 3}, most: {priority: 1}}\n"
    )
    with Realm(three_skills(tmp_path / "home", section)) as realm:
        assert [(drill.skill, drill.count) for drill in next_drills(realm.lab)] == [
            ("most", 100),
            ("wide", 300),
        ]
        jobs = queue_drills(realm.lab)
        assert [job.id for job in realm.jobs()] == [job.id for job in jobs]  # and they run in that order
        found = {skill.skill: skill for skill in curriculum(realm.lab).skills}
        assert (found["wide"].share, found["bin"].share, found["bin"].enabled) == (0.75, 0.0, False)
    with Realm(three_skills(tmp_path / "focus", "  preset: focus-weakest\n")) as realm:
        put(realm.lab, "bin", weakness={"bitwise_or": 0.5})
        assert {drill.skill: drill.count for drill in next_drills(realm.lab)}["bin"] == 90
        assert next_drills(realm.lab)[0].skill == "wide"


def test_a_setting_for_a_skill_that_nobody_has_is_refused(tmp_path: Path) -> None:
    home = three_skills(tmp_path / "home", "  skills: {bine: {weight: 2}}\n")
    with pytest.raises(ConfigError, match="no hero has bine"):
        Realm(home).lab  # noqa: B018


def test_drills_are_made_while_the_queue_holds_too_few_jobs(tmp_path: Path) -> None:
    with Realm(make_lab(tmp_path / "home", drills=True, rows=8)) as realm:

        def queued(below: int) -> int:
            for _ in range(5):
                filler = Filler(realm.lab, below)
                assert filler.tick() is False
            return len(realm.lab.queue.owed())

        assert [queued(1), queued(3), queued(3), queued(1)] == [1, 3, 3, 3]
        for job in realm.jobs():
            realm.pause(job.id) if job.state is JobState.RUNNING else realm.lab.queue.pause(job.id)
        assert queued(3) == 0  # paused runs wait for a person


def test_a_level_that_is_lost_is_told_and_repeated_more(tmp_path: Path, one_launcher: None) -> None:
    """A hero that knows nothing is said to have mastered level 3; the first run finds out."""
    home = make_lab(tmp_path / "home", drills=True, rows=64)
    text = (home / "realm.yaml").read_text()
    few = "problems_per_primitive: 30\n  probe_per_primitive: 2"
    section = f"curriculum:\n  recheck_runs: 1\n  lost_evaluations: 1\n  {few}\n"
    text = text.replace("curriculum:\n", section, 1)
    (home / "realm.yaml").write_text(text)
    seen: list[Event] = []
    with Realm(home) as realm:
        lab = realm.lab
        put(lab, "bin", mastered_level=3, training_level=4)
        before = next_drills(lab)[0].rows
        realm.attach(seen.append)
        realm.up(lambda: any(isinstance(event, LevelReviewed) for event in seen))
        kept = [event for _, _, event in lab.ledger.events.list(kinds=["level_reviewed"])]
        assert [(e.level, e.change, e.fails) for e in kept if isinstance(e, LevelReviewed)] == [
            (3, "lost", 1)
        ]
        state = skill_state(lab, "bin")
        assert (state.mastered_level, state.training_level) == (3, 4)  # nothing else changed
        assert next_drills(lab)[0].rows[3] > before[3]
        found = curriculum(lab)
        assert found.skills[0].lost == (3,)
        assert found.news[0] == kept[0]
        assert any("0.80 are needed" in line for line in found.skills[0].missing)

        [told] = report(lab)
        assert set(told.levels) == {3, 4}
        assert [p.share for p in told.primitives] == sorted(p.share for p in told.primitives)
        assert {p.primitive for p in told.primitives if p.share < 0.8} == set(told.weak) != set()
        [lenient] = report(lab, "bin", threshold=0.01)
        assert lenient.weak == tuple(p.primitive for p in told.primitives if p.share < 0.01)
        with pytest.raises(NotFoundError, match="no evaluation"):
            report(lab, "bin", model="dio@0")
        with pytest.raises(NotFoundError, match="there are: bin"):
            report(lab, "bit")


def test_a_level_is_set_by_hand_with_a_reason_while_the_lab_is_down(tmp_path: Path) -> None:
    with Realm(make_lab(tmp_path / "home", drills=False)) as realm:
        lab = realm.lab
        event = set_level(lab, "bin", 5, "it knows level 4")
        assert (event.before, event.level, event.mastered_level) == (3, 5, 0)
        assert skill_state(lab, "bin").training_level == 5
        news = curriculum(lab).news[0]
        assert (news.kind, news.level) == ("level_set", 5)
        assert isinstance(news, LevelSet)
        assert news.reason == "it knows level 4"
        with pytest.raises(StateError, match="already"):
            set_level(lab, "bin", 5, "again")
        with pytest.raises(NotFoundError):
            set_level(lab, "sy", 5, "no such skill")
        with HomeLock(lab.home.root), pytest.raises(HeldError):
            set_level(lab, "bin", 3, "the lab is up")
        assert skill_state(lab, "bin").training_level == 5


def test_settings_are_checked_and_told_but_never_written(tmp_path: Path) -> None:
    with Realm(make_lab(tmp_path / "home", drills=False)) as realm:
        text = realm.home.config.read_text()
        lines = settings_text(realm.lab, {"preset": "sprint"}, "bin", {"weight": 2.0})
        assert lines.splitlines()[:3] == ["curriculum:", "  preset: sprint", "  skills:"]
        assert "win over the preset: evaluations" in lines  # the template says 3
        with pytest.raises(ConfigError, match="weight"):
            settings_text(realm.lab, {}, "bin", {"weight": -1.0})
        assert realm.home.config.read_text() == text


FEW = """
id: few
templates:
  - prompt: What is {a} plus {b}?
    answer: "{a + b}"
    operands: {a: {low: 0, high: 9}, b: {low: 0, high: 9}}
"""


def with_few(path: Path, *, beside: bool) -> Path:
    """Create a realm whose hero has a skill with 32 problems to test, beside another one or alone."""
    home = make_lab(path, drills=True, rows=64)
    (home / "few.yaml").write_text(FEW)
    few, config = "few: {kind: file, path: few.yaml}", home / "realm.yaml"
    text = config.read_text().replace(THREE, f"{few}\n      {THREE}" if beside else few)
    quick = "curriculum:\n  problems_per_primitive: 30\n  probe_per_primitive: 1\n"
    config.write_text(text.replace("curriculum:\n", quick, 1))
    return home


def test_a_skill_with_too_little_to_test_is_left_out_and_the_others_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, one_launcher: None
) -> None:
    seen: list[Event] = []
    with Realm(with_few(tmp_path / "home", beside=True)) as realm:
        lab = realm.lab
        found, shown = curriculum(lab), realm.status()
        for left, names in (
            (found.left_out, [skill.skill for skill in found.skills]),
            (shown.left_out, [skill.name for skill in shown.skills]),
        ):
            assert names == ["bin"]
            assert [each.skill for each in left] == ["few"]
            assert "100 are needed" in left[0].reason
            assert "level 1 has most, 32" in left[0].reason
        assert [(drill.skill, drill.count) for drill in next_drills(lab)] == [("bin", 64)]
        assert realm.sheet().level == 0
        realm.attach(seen.append)
        realm.up(lambda: any(event.kind == "evaluated" for event in seen))
        assert "few is left out: no level of few holds back enough problems" in caplog.text
        assert realm.curriculum().skills[0].newest is not None
    told = realm_of(tmp_path / "home", "curriculum", "show")
    assert (told.returncode, "few is left out: no level of few" in told.stdout) == (0, True)
    told = realm_of(tmp_path / "home", "status")
    assert (told.returncode, "left out  few: no level of few" in told.stdout) == (0, True)


def test_what_is_asked_of_one_primitive_is_offered_and_kept_out_of_training_data(tmp_path: Path) -> None:
    home = with_few(tmp_path / "home", beside=False)
    (home / "few.yaml").write_text(FEW.replace("high: 9", "high: 99"))
    with Realm(home, overrides=["curriculum.minimum_total=300"]) as realm:
        lab = realm.lab
        suite = level_suite(lab, "few", 1)
        assert len(suite.problems) == 300
        prompts = [problem.messages[-1].content for problem in suite.problems]
        assert set(eval_hashes(prompts)) <= set(context_of(lab).eval_hashes)
        assert [level.eval_samples for level in OfferedSkill(lab.skill("few")).levels()] == [100]


def test_a_hero_whose_only_skill_has_too_little_to_test_is_refused(tmp_path: Path) -> None:
    with Realm(with_few(tmp_path / "home", beside=False)) as realm:
        for look in (realm.status, realm.curriculum, realm.sheet, lambda: queue_drills(realm.lab)):
            with pytest.raises(ConfigError, match="no level of few holds back enough"):
                look()
        with pytest.raises(ConfigError, match="no level of few"):
            realm.up(lambda: False)
