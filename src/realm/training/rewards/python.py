"""Any Python function as a reward.

It is called as `function(prompt, answer, row)` with a tuple of `Message`, a string and the row's
`Example`, and returns a number within ±1,000,000, the larger the better: Python's, or a scalar of
NumPy or torch. Whatever it raises ends the run, told as a RefusedError with the function's name.

It runs in the training process with that process's rights: name only functions that you would run
yourself. It has to be pure, since a run that goes on after an interruption calls it again.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from numbers import Real
from typing import Annotated, Any, Literal

from pydantic import Field

from realm.core.config import Config as BaseConfig
from realm.core.errors import NotFoundError, RealmError, RefusedError
from realm.core.text import printable
from realm.training.reward import LARGEST, Question

log = logging.getLogger(__name__)


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
        """Return what the function says. Raises RefusedError where it fails or that is no such number."""
        function = self._function()
        try:
            value = function(question.prompt, answer, question.example)
            value = value.item() if hasattr(value, "item") else value
            is_number, given = isinstance(value, Real), repr(value)
            if is_number and abs(value) <= LARGEST:
                return float(value)
        except RealmError:
            raise
        except (Exception, SystemExit) as error:  # a person's code may raise anything at all
            raise self._failed("raised", error) from error
        raise RefusedError(
            f"the reward {self.config.function} gave {printable(given, 80)}",
            hint=f"it has to return a number from {-LARGEST:,.0f} to {LARGEST:,.0f}",
        )

    def _failed(self, how: str, error: BaseException) -> RefusedError:
        log.error("the reward %s %s", self.config.function, how, exc_info=error)
        said = f"{type(error).__name__}: {printable(str(error), 200)}"
        return RefusedError(
            f"the reward {self.config.function} {how} {said}", hint="mend it; where it failed is in the log"
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
            except RealmError:
                raise
            except (Exception, SystemExit) as error:  # and so may its module
                raise self._failed("cannot be imported:", error) from error
            if not callable(found):
                raise NotFoundError(f"{self.config.function} is no function")
            self._found = found
        return self._found
