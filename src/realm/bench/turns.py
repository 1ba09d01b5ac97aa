"""A contender's device, and how it leaves a GPU to the others while it is not its turn.

All contenders of a case live at once, so that their segments can take turns; a GPU has no room for
the memory of all of them. Between segments each moves its tensors to host memory and gives back what
it kept. Like `pipe` it imports nothing of realm, and torch only when it is needed.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any, Literal

Where = Literal["cpu", "cuda"]
"""What a benchmark runs on, as torch calls it."""


class Device:
    """The device of this process, and what waits in host memory for its return."""

    def __init__(self, name: Where) -> None:
        self.name = name
        self._at_rest: list[tuple[dict[Any, Any], Any]] = []
        """Which tensors of the optimizer wait in host memory: the mapping that holds each, and its key."""

    @property
    def model(self) -> str | None:
        """What the GPU is called."""
        import torch

        return torch.cuda.get_device_name() if self.name == "cuda" else None

    def wait(self) -> None:
        """Wait until everything that it was told to do is done."""
        import torch

        if self.name == "cuda":
            torch.cuda.synchronize()

    def free(self) -> None:
        """Give back memory that is kept for later."""
        import torch

        gc.collect()
        if self.name == "cuda":
            torch.cuda.empty_cache()

    def forget_peak(self) -> None:
        """Let the peak begin anew."""
        import torch

        if self.name == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def memory(self) -> dict[str, float]:
        """Return the most that tensors took since `forget_peak`, as it is answered; nothing on the CPU."""
        import torch

        self.wait()
        if self.name != "cuda":
            return {}
        return {"peak_device_mb": torch.cuda.max_memory_allocated() / 2**20}

    def rest(self, model: Any, optimizer: Any) -> None:
        """Move a model and what its optimizer remembers to host memory."""
        self.wait()
        _move(model, "cpu")
        for values, key in _state(optimizer):
            if values[key].device.type != "cpu":
                values[key] = values[key].to("cpu")
                self._at_rest.append((values, key))
        self.free()

    def wake(self, model: Any, optimizer: Any) -> None:
        """Move them back; what lay in host memory all along stays there."""
        _move(model, self.name)
        while self._at_rest:
            values, key = self._at_rest.pop()
            values[key] = values[key].to(self.name)
        self.wait()
        self.forget_peak()


def _move(model: Any, device: str) -> None:
    # The parameters stay the same objects: the optimizer and others hold on to them.
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.grad = None  # of a step that is done
        tensor.data = tensor.data.to(device)


def _state(optimizer: Any) -> Iterator[tuple[dict[Any, Any], Any]]:
    """Yield where each tensor of an optimizer lies; none of one that has not taken a step."""
    for values in optimizer.state.values() if optimizer is not None else ():
        for key, value in values.items():
            if hasattr(value, "device"):
                yield values, key
