from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from realm.corpus.source import SOURCES, SourceConfig
from realm.flows.corpus import CorpusConfig

PAGE = (Path(__file__).parents[2] / "docs" / "sources.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found, f"docs/sources.md has no section {heading}"
    return found[1]


@pytest.mark.parametrize("kind", SOURCES.names())
def test_every_setting_of_every_kind_is_explained(kind: str) -> None:
    config = SOURCES.load(kind).Config  # type: ignore[attr-defined]
    own = config.model_fields.keys() - SourceConfig.model_fields.keys() - {"kind"}
    rows = [
        row.partition("|")[2].partition("|")[0] for row in section(f"`{kind}`").splitlines() if row[:1] == "|"
    ]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == own


def test_the_settings_of_all_kinds_are_explained() -> None:
    assert set(re.findall(r"^\| `(\w+)`", section("Settings of every kind"), re.M)) == set(
        SourceConfig.model_fields
    )


def test_the_example_of_realm_yaml_is_a_config() -> None:
    [example] = re.findall(r"```yaml\n(.*?)```", section("`realm.yaml`"), re.S)
    config = CorpusConfig.model_validate(yaml.safe_load(example)["corpus"])
    assert [source.name for source in config.sources] == ["sessions", "issues", "flecs", "mine"]  # type: ignore[attr-defined]
