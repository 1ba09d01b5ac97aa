"""Export: what leaves the lab is whole, comes back as it was, and nothing leaves that may not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realm import Realm
from realm.core.errors import DataError, NotFoundError, RefusedError, StateError, UsageError
from realm.core.records import ArtifactKind, Example
from realm.corpus.check import Depth
from realm.corpus.dataset import read_examples, read_info
from realm.corpus.intake import DEFAULT_LIMITS
from realm.flows import export as exporting
from realm.flows.build import BuildPlan
from realm.flows.drills import queue_drills
from realm.flows.export import Exported, ExportPlan
from realm.flows.intake import register_file
from realm.storage import manifest as manifests
from tiny_datasets import chats, example, preference, publish, rows


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Realm]:
    with Realm.create(tmp_path / "lab", template="dio") as realm:
        yield realm


def exported(lab: Realm, out: Path, dataset: str = "mine", **plan: Any) -> Exported:
    return lab.export(ExportPlan(dataset=dataset, out=out, **plan))


def taken(lab: Realm, out: Path) -> list[Example]:
    """Take an exported file as another lab's inbox takes it."""
    found = register_file(lab.lab, out / "rows.jsonl")
    return list(read_examples(lab.lab.store.verified(ArtifactKind.DATASET, found.hash)))


def test_an_export_has_rows_sidecar_lineage_card_and_manifest(lab: Realm, tmp_path: Path) -> None:
    given_ = rows([example(f"q{n}", f"a{n}", role="mayor", level=n) for n in range(20)])
    record = publish(lab.lab, given_)
    done = exported(lab, tmp_path / "out")
    names = {path.name for path in done.folder.iterdir()}
    assert names == {
        "rows.jsonl", "rows.jsonl.meta.json", "lineage.jsonl", "README.md", "export.json", "manifest.json"
    }  # fmt: skip
    manifest = manifests.verify(done.folder, ArtifactKind.EXPORT, done.hash)
    assert set(manifest.files) == names - {"manifest.json"}
    vault = lab.lab.store.path(ArtifactKind.DATASET, record.hash)
    assert (done.folder / "lineage.jsonl").read_bytes() == (vault / "lineage.jsonl").read_bytes()
    head = yaml.safe_load((done.folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert (head["license"], head["configs"][0]["data_files"]) == (
        ["mit"], [{"split": "train", "path": "rows.jsonl"}]
    )  # fmt: skip
    assert taken(lab, done.folder) == [each.example for each in given_]


def test_another_lab_takes_it_from_its_inbox_with_who_made_it(lab: Realm, tmp_path: Path) -> None:
    record = publish(lab.lab, rows(chats(range(5))))
    out = exported(lab, tmp_path / "out").folder
    with Realm.create(tmp_path / "other", template="dio") as other:
        for path in out.glob("rows.jsonl*"):
            shutil.copy(path, other.home.inbox / path.name)
        taken_ = register_file(other.lab, other.home.inbox / "rows.jsonl")
        info = read_info(other.lab.store.path(ArtifactKind.DATASET, taken_.hash))
        assert info.generator is not None
        assert info.generator["generator_id"] == "realm"
        assert info.generator["params"]["dataset"] == record.hash
        assert info.generator["params"]["licences"] == {"MIT": 5}
        with pytest.raises(RefusedError, match="no search for secrets"):
            exported(other, tmp_path / "again", taken_.hash)


def test_what_was_collected_and_built_is_exported_with_its_statistics(lab: Realm, tmp_path: Path) -> None:
    said = [each.model_dump(mode="json", exclude_defaults=True) for each in chats(range(60))]
    said += said[:1]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    lab.collect(tmp_path / "chats.jsonl", settings={"licence": "MIT", "contributor": "ann"})
    built = lab.build(BuildPlan(name="mine", depth=Depth.STANDARD)).datasets
    done = exported(lab, tmp_path / "out")
    assert {each.side for each in built} == {"train", "eval"}
    [train] = [each for each in built if each.side == "train"]
    assert (done.facts.rows, done.facts.publishing.licences[0].licence) == (train.rows, "MIT")
    vault = lab.lab.store.path(ArtifactKind.DATASET, train.hash)
    assert taken(lab, done.folder) == list(read_examples(vault))
    card = (done.folder / "README.md").read_text(encoding="utf-8")
    assert "kept 60 rows in all its datasets" in card
    assert "| exact duplicate | 1 |" in card
    assert "| ann |" in card
    found = lab.lab_stats()
    assert (found.builds, [(each.name, each.accepted) for each in found.shapers]) == (1, [("as_is", 61)])
    assert "structure" in {each.name for each in found.checks}
    assert [(each.contributor, each.rows) for each in found.contributions] == [("ann", 60)]


def test_prompts_go_out_with_what_is_expected_of_their_answers(lab: Realm, tmp_path: Path) -> None:
    asked = [
        Example(messages=each.messages[:1], expected=each.messages[1].content) for each in chats(range(4))
    ]
    publish(lab.lab, rows(asked), spec="prompt_v1")
    done = exported(lab, tmp_path / "out")
    assert taken(lab, done.folder) == asked
    assert "| expected |" in (done.folder / "README.md").read_text(encoding="utf-8")
    table = pq.read_table(exported(lab, tmp_path / "table", format="parquet").folder / "rows.parquet")
    assert {"prompt", "expected"} <= set(table.column_names)
    assert table["expected"].to_pylist() == [each.expected for each in asked]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_row_of_another_form_than_the_dataset_refuses_it(lab: Realm, tmp_path: Path, form: str) -> None:
    publish(lab.lab, rows([*chats(range(3)), preference("q", "a", "b")]))
    with pytest.raises(DataError, match=r"mine:4: .* it is no row of chat_sft_v1"):
        exported(lab, tmp_path / "out", format=form)


def test_a_place_in_no_folder_is_wrong_use(lab: Realm, tmp_path: Path) -> None:
    publish(lab.lab, rows(chats(range(3))))
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not a folder"):
        exported(lab, tmp_path / "file" / "out")


def test_the_same_dataset_is_exported_to_the_same_bytes(lab: Realm, tmp_path: Path) -> None:
    publish(lab.lab, rows(chats(range(5))))
    assert exported(lab, tmp_path / "a").hash == exported(lab, tmp_path / "b").hash


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_nothing_is_written_over_and_nothing_half_is_left(lab: Realm, tmp_path: Path, form: str) -> None:
    publish(lab.lab, [*rows(chats(range(3))), *rows([preference("q", "a", "b")])])
    publish(lab.lab, [*rows(chats(range(3))), *rows([Example(text="no chat")])], name="odd")
    (tmp_path / "out").mkdir()
    with pytest.raises(StateError, match="exists already"):
        exported(lab, tmp_path / "out", format=form)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StateError, match="exists already"):
        exported(lab, tmp_path / "link", format=form)
    before = set(tmp_path.iterdir())
    with pytest.raises(DataError, match="odd:4: cannot be written in the shape openai"):
        exported(lab, tmp_path / "new", "odd", format=form, shape="openai")
    assert set(tmp_path.iterdir()) == before


def test_an_interrupted_export_leaves_nothing(lab: Realm, tmp_path: Path) -> None:
    publish(lab.lab, rows(chats(range(3))))
    before = set(tmp_path.iterdir())

    def interrupt(progress: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lab.export(ExportPlan(dataset="mine", out=tmp_path / "out"), interrupt)
    assert set(tmp_path.iterdir()) == before


def test_a_licence_that_forbids_it_refuses_with_the_rows_by_licence(lab: Realm, tmp_path: Path) -> None:
    publish(lab.lab, [*rows(chats(range(3))), *rows(chats(range(7, 9)), licence="CC-BY-NC-4.0")])
    with pytest.raises(RefusedError, match=r"2 rows have a licence .*\(CC-BY-NC-4.0: 2\)") as refused:
        exported(lab, tmp_path / "out")
    assert "--private" in refused.value.hint
    assert not (tmp_path / "out").exists()
    done = exported(lab, tmp_path / "out", private=True)
    card = (done.folder / "README.md").read_text(encoding="utf-8")
    assert "**Not publishable**" in card
    assert json.loads((done.folder / "export.json").read_text())["publishing"]["allowed"] is False
    assert done.folder.stat().st_mode & 0o077 == 0


def test_rows_that_nobody_scrubbed_do_not_leave(lab: Realm, tmp_path: Path) -> None:
    publish(lab.lab, rows(chats(range(3))), scrub=None)
    with pytest.raises(RefusedError, match="no search for secrets"):
        exported(lab, tmp_path / "out")


def test_rows_of_a_rig_leave_only_where_it_shares_with_all(lab: Realm, tmp_path: Path) -> None:
    publish(lab.lab, rows(chats(range(3)), rig="north"))
    with pytest.raises(RefusedError, match="3 rows are of rigs that do not share with everybody: north"):
        exported(lab, tmp_path / "out")
    with Realm(lab.home.root, overrides=["corpus.sharing.rigs={north: [all]}"]) as open_lab:
        assert exported(open_lab, tmp_path / "out").facts.rows == 3


def test_drills_are_nobodys_and_may_leave(lab: Realm, tmp_path: Path) -> None:
    [job] = queue_drills(lab.lab)
    dataset = lab.lab.ledger.datasets.get(lab.lab.ledger.runs.get(job.id).dataset)
    assert dataset.generator is not None
    assert lab.publishable(dataset.hash).allowed
    assert exported(lab, tmp_path / "out", dataset.hash).facts.rows == dataset.rows


def test_a_file_from_the_inbox_is_exported_in_house(lab: Realm, tmp_path: Path) -> None:
    (tmp_path / "chats.jsonl").write_text(
        '{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}\n'
    )
    record = register_file(lab.lab, tmp_path / "chats.jsonl")
    with pytest.raises(RefusedError, match=re.escape("(unknown: 1)")):
        exported(lab, tmp_path / "out", "chats.jsonl")
    done = exported(lab, tmp_path / "out", record.hash[7:19], private=True)
    assert not (done.folder / "lineage.jsonl").exists()
    card = (done.folder / "README.md").read_text(encoding="utf-8")
    assert "nobody has looked for any" in card
    assert "not built from collections" in card
    assert taken(lab, done.folder)[0].messages[1].content == "a"


def test_who_generated_a_file_is_told_again(lab: Realm, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n')
    sidecar = {"generator_id": "gen", "generator_version": "2", "example_count": 1, "params": {"level": 3}}
    (tmp_path / "a.jsonl.meta.json").write_text(
        json.dumps({**sidecar, "generated_at": "2026-01-01T00:00:00Z"})
    )
    register_file(lab.lab, tmp_path / "a.jsonl")
    out = exported(lab, tmp_path / "out", "a.jsonl", private=True).folder
    told = json.loads((out / "rows.jsonl.meta.json").read_text())
    assert {key: value for key, value in told.items() if key != "generated_at"} == sidecar
    assert "| generated by | gen 2 |" in (out / "README.md").read_text(encoding="utf-8")


def test_a_large_dataset_is_several_files_that_an_inbox_takes(
    lab: Realm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_ = rows(chats(range(10)))
    publish(lab.lab, given_)
    limits = DEFAULT_LIMITS.model_copy(update={"max_rows": 4})
    monkeypatch.setattr(exporting, "DEFAULT_LIMITS", limits)
    done = exported(lab, tmp_path / "out")
    assert [(file.name, file.rows) for file in done.facts.files] == [
        ("rows.jsonl", 4), ("rows-2.jsonl", 4), ("rows-3.jsonl", 2)
    ]  # fmt: skip
    read: list[Example] = []
    for file in done.facts.files:
        found = register_file(lab.lab, done.folder / file.name)
        read += read_examples(lab.lab.store.path(ArtifactKind.DATASET, found.hash))
    assert read == [each.example for each in given_]


def test_other_shapes_say_what_they_leave_behind(lab: Realm, tmp_path: Path) -> None:
    publish(lab.lab, rows([example("q", "a", task="t"), example("q2", "a2")]))
    done = exported(lab, tmp_path / "out", shape="alpaca", format="parquet")
    assert done.facts.left_behind == {"tags": 1}
    assert pq.read_table(done.folder / "rows.parquet").select(["instruction", "output"]).to_pylist() == [
        {"instruction": "q", "output": "a"},
        {"instruction": "q2", "output": "a2"},
    ]


def test_what_is_no_dataset_is_named(lab: Realm, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no dataset is called 'none-such'"):
        exported(lab, tmp_path / "out", "none-such")


_TAGS = st.dictionaries(st.sampled_from("abc"), st.integers(-9, 9) | st.text("xyz", max_size=3), max_size=3)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(
            lambda q, a, tags: example("q" + q, "a" + a, **tags),
            st.text(st.characters(codec="utf-8"), max_size=20),
            st.text(st.characters(codec="utf-8"), max_size=20),
            _TAGS,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_rows_come_back_from_an_inbox_and_from_parquet(
    lab: Realm, tmp_path_factory: pytest.TempPathFactory, given_: list[Example]
) -> None:
    record = publish(lab.lab, rows(given_))
    out = tmp_path_factory.mktemp("exports")
    assert taken(lab, exported(lab, out / "jsonl", record.hash).folder) == given_
    folder = exported(lab, out / "parquet", record.hash, format="parquet").folder
    read = pq.read_table(folder / "rows.parquet").to_pylist()
    for found, wanted in zip(read, given_, strict=True):
        assert [(turn["role"], turn["content"]) for turn in found["messages"]] == [
            (turn.role, turn.content) for turn in wanted.messages
        ]
        columns = {key: value for key, value in (found.get("tags") or {}).items() if value is not None}
        assert {**columns, **json.loads(found["other_tags"] or "{}")} == wanted.tags
