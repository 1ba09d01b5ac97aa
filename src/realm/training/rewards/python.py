"""Any Python function as a reward.

It is called as `function(prompt, answer, row)` with a tuple of `Message`, a string and the row's
`Example`, and returns a finite number, the larger the better. It runs in the training process with
that process's rights: name only functions that you would run yourself. It has to be pure, since a run
that goes on after an interruption calls it again.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.errors import NotFoundError, RefusedError
from realm.training.reward import Question


class PythonReward:
    """Grade answers by a function of an installed package."""

    class Config(BaseConfig):
        """Which function."""

        kind: Literal["python"] = "python"
        function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
        """As `package.module:function`; imported when the run begins."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._found: Callable[..., Any] | None = None

    def check(self, question: Question) -> None:
        """Raise NotFoundError where there is no such function; what it needs of a row it knows itself."""
        self._function()

    def score(self, question: Question, answer: str) -> float:
        """Return what the function says. Raises RefusedError where that is no finite number."""
        value = self._function()(question.prompt, answer, question.example)
        if isinstance(value, bool | int | float) and math.isfinite(value):
            return float(value)
        raise RefusedError(
            f"the reward {self.config.function} gave {value!r}", hint="it has to return a finite number"
        )

    def _function(self) -> Callable[..., Any]:
        if self._found is None:
            module, _, name = self.config.function.partition(":")
            try:
                found = getattr(importlib.import_module(module), name)
            except (ImportError, AttributeError) as error:
                raise NotFoundError(
                    f"no reward {self.config.function}: {error}", hint="install the package beside realm"
                ) from None
            if not callable(found):
                raise NotFoundError(f"{self.config.function} is no function")
            self._found = found
        return self._found
