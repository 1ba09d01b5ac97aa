"""The sidecar `<file>.jsonl.meta.json`: who generated the rows of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, NonNegativeInt, ValidationError

from realm.core.config import Config, explain
from realm.core.errors import DataError
from realm.core.text import printable
from realm.corpus.files import lines

SIDECAR = ".meta.json"
_MAX_BYTES = 65_536
_MAX_DEPTH = 16


class Sidecar(Config):
    """What a generator says about a file of rows."""

    generator_id: str
    generator_version: str
    generated_at: str
    """A dataset does not take it over: rows generated again must keep their content name."""
    example_count: NonNegativeInt
    """Rows of the file; another count refuses the file."""
    params: dict[str, Any] = Field(default_factory=dict)

    def provenance(self) -> dict[str, Any]:
        """Return what a dataset keeps of it."""
        return self.model_dump(mode="json", exclude={"generated_at"})


def sidecar_of(path: Path) -> Path:
    """Return where a file's sidecar would lie."""
    return path.with_name(path.name + SIDECAR)


def read_sidecar(path: Path) -> Sidecar | None:
    """Read the sidecar of a file, None where it has none. Raises DataError for a bad one."""
    beside = sidecar_of(path)
    if not beside.is_symlink() and not beside.exists():
        return None
    shown = printable(beside.name, 130)
    with lines.open_regular(beside) as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise DataError(f"a sidecar of more than {_MAX_BYTES:,} bytes", file=shown)
    try:
        value = lines.parse(lines.strip(data, 1), _MAX_DEPTH)
    except DataError as error:
        raise DataError(
            error.reason, file=shown, hint="mend the sidecar, or drop the file without it"
        ) from None
    try:
        return Sidecar.model_validate(value)
    except ValidationError as error:
        reason = "; ".join(printable(line) for line in explain(Sidecar, error)[:3])
        raise DataError(
            reason, file=shown, hint=f"a sidecar holds {', '.join(Sidecar.model_fields)}"
        ) from None
