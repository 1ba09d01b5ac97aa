"""The page about building: its example is a config, and no setting of the section is left out."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from realm.flows.corpus import CorpusConfig

PAGE = (Path(__file__).parents[2] / "docs" / "build.md").read_text(encoding="utf-8")


def test_the_example_is_a_config_and_shows_every_part() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    given = yaml.safe_load(example)["corpus"]
    config = CorpusConfig.model_validate(given)
    assert given.keys() == CorpusConfig.model_fields.keys() - {"sources"}
    assert [feed.shaper.kind for feed in config.feeds] == ["as_is", "code", "work_item", "preference"]  # type: ignore[attr-defined]
    for part in ("partition", "balance", "split", "sharing"):
        assert given[part].keys() == type(getattr(config, part)).model_fields.keys(), part


def test_all_shapers_are_named() -> None:
    from realm.corpus.shaper import SHAPERS

    assert all(f"`{name}`" in PAGE for name in SHAPERS.names())
