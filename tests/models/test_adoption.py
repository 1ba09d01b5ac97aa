"""A folder that is taken over: its safe files alone, and none that holds code."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import model, tokenizer

from realm.core.errors import UnsafeFileError
from realm.models.adoption import adopt
from realm.models.files import load, save


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    save(model(), tokenizer(), path)
    (path / "README.md").write_text("papers")
    return path


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    path = tmp_path / "stage"
    path.mkdir()
    return path


def test_a_model_is_taken_over_without_its_papers(source: Path, stage: Path) -> None:
    adopt(source, stage)
    assert load(stage).model.num_parameters() == model().num_parameters()
    assert not (stage / "README.md").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "PYTORCH_MODEL.BIN", "Weights.Pkl", "modeling_x.PY"])
def test_a_file_that_can_hold_code_refuses_the_folder_in_any_case(
    source: Path, stage: Path, name: str
) -> None:
    (source / name).write_bytes(b"")
    with pytest.raises(UnsafeFileError, match=name):
        adopt(source, stage)
