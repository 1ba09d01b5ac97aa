from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from realm.cli import recipe_reference
from realm.cli.reference import commands, reference

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_command_line_reference_is_up_to_date() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference(), "run `make docs`"


def test_the_reference_of_recipes_is_up_to_date() -> None:
    page = (ROOT / "docs" / "recipe-reference.md").read_text(encoding="utf-8")
    assert page == recipe_reference.reference(), "run `make docs`"


def test_every_key_of_a_recipe_says_what_it_does() -> None:
    keys = [(group.title, key) for group in recipe_reference.groups() for key in group.keys]
    assert not [f"{title}: {key.name}" for title, key in keys if not key.what]
    told = {(title, key.name): key for title, key in keys}
    assert told["method: grpo", "truncated"].takes == "`masked` · `penalised`"
    assert told["rules.memory", "tokens_at_once"].takes == "whole number ≥ 2 and ≤ 1e9 or none"
    assert told["parameters: lora", "rank"].default == "`16`"
    assert told["rules", "optimizer"].default == "`adamw`"
    assert told["teacher: local", "folder"].default == "—"


def test_links_in_the_reference_of_recipes_lead_to_its_headings() -> None:
    page = recipe_reference.reference()
    headings = re.findall(r"(?m)^## `(.+)`$", page)
    anchors = {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= anchors
    assert len(anchors) == len(headings)


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=lambda value: str(value))
def test_every_command_has_an_example_of_itself(name: str, command: object) -> None:
    assert f"Example: {name}" in (getattr(command, "help", None) or "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_source_paths_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in target]
    missing = [target for target in links if not (page.parent / target).exists()]
    rooms = re.findall(
        r"`((?:core|storage|ledger|jobs|models|corpus|skills|training|evaluation|growth|flows|cli)/[\w/.]*)`",
        text,
    )
    missing += [path for path in rooms if not (ROOT / "src" / "realm" / path).exists()]
    assert not missing


def test_every_command_in_the_readme_exists() -> None:
    known = {name for name, _ in commands()}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    used = re.findall(r"(?m)^(?:.*&& )?(realm (?:--home \S+ )?[a-z]+(?: [a-z]+)?)", text)
    assert used
    for line in used:
        assert any(name == line or line.startswith(f"{name} ") for name in known), line


def test_help_loads_neither_torch_nor_databases() -> None:
    code = "import sys; from realm.cli.main import run; run(['--help']); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "transformers", "sqlalchemy", "alembic", "dbos"}
