from __future__ import annotations

import threading

import pytest

from realm.training.saving import Writer


def test_a_thread_that_is_refused_leaves_nothing_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    writer = Writer(asynchronous=True)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        writer.submit(lambda: None)
    writer.wait()
