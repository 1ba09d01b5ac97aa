"""The contract of the `teacher` family: a model whose answers another one learns.

A teacher in the training process gives its whole distribution at every token (`token_level`). One
elsewhere gives words: `fetch_answers` lets it answer the rows of a dataset before the run, in a process
that may use the network and holds its key; the run itself needs neither.

Shapes: M trained tokens of a pack, D hidden size of the teacher, X some of the tokens, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from realm.core.errors import DataError, RefusedError
from realm.core.hashing import PREFIX, hash_json
from realm.core.kinds import Family
from realm.core.records import Example, Message, Record
from realm.storage.durable import make_dir, write_file

if TYPE_CHECKING:
    import torch

    from realm.training.batching import Batch
    from realm.training.trainee import Trainee
