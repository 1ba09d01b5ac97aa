"""MinHash signatures of sets, by rensa or by numpy.

The two back ends draw different permutations, so that they may propose different candidates; which of
them count is decided by the exact Jaccard similarity, the same for both.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from realm.core.errors import MissingExtraError
from realm.core.seeds import rng
from realm.corpus.texts.shingles import Numbers, mixed, np

Backend = Literal["auto", "rensa", "numpy"]

_SEED = 1
_SHIFT = np.uint64(32)


class Signer:
    """Turn sets of numbers into the keys of their bands, (sets, bands).

    A band is `rows` of a set's minima in one number. Two sets of Jaccard similarity J share a given
    band with probability J^rows, and at least one with 1 - (1 - J^rows)^bands (Broder 1997; Leskovec,
    Rajaraman, Ullman: Mining of Massive Datasets, chapter 3).
    """

    def __init__(self, bands: int, rows: int, backend: Backend = "auto") -> None:
        """Raise MissingExtraError where rensa is asked for and absent."""
        present = find_spec("rensa") is not None
        if backend == "rensa" and not present:
            raise MissingExtraError(
                "rensa is not installed", hint="install the corpus extra: pip install 'realm-lab[corpus]'"
            )
        self.backend: Literal["rensa", "numpy"] = "rensa" if present and backend != "numpy" else "numpy"
        self._bands, self._rows = bands, rows
        draw = rng("corpus/minhash")
        count = bands * rows
        self._factors = np.array([draw.getrandbits(63) * 2 + 1 for _ in range(count)], dtype=np.uint64)
        self._offsets = np.array([draw.getrandbits(64) for _ in range(count)], dtype=np.uint64)

    def keys(self, flat: Numbers, begins: Numbers) -> Numbers:
        """Return the band keys of sets that lie end to end, none of them empty.

        `begins` says where each set begins and, last, where all end.
        """
        minima = self._by_rensa(flat, begins) if self.backend == "rensa" else self._by_numpy(flat, begins)
        grouped = minima.reshape(len(begins) - 1, self._bands, self._rows)
        keys = np.zeros(grouped.shape[:2], dtype=np.uint64)
        for row in range(self._rows):
            keys = mixed(keys + grouped[:, :, row] + np.uint64(1))
        return keys

    def _by_rensa(self, flat: Numbers, begins: Numbers) -> Numbers:
        from rensa import RMinHash

        matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, begins, self._bands * self._rows, _SEED)
        return np.array(matrix.to_rows(), dtype=np.uint64)

    def _by_numpy(self, flat: Numbers, begins: Numbers) -> Numbers:
        found = np.empty((len(begins) - 1, len(self._factors)), dtype=np.uint64)
        starts = begins[:-1].astype(np.int64)
        for index in range(len(self._factors)):
            drawn = (flat * self._factors[index] + self._offsets[index]) >> _SHIFT
            found[:, index] = np.minimum.reduceat(drawn, starts)
        return found
