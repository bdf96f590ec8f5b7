"""Comparing replies with the reference answers."""

from pathlib import Path

import numpy as np

from bench.record import DIFFERENT, NOT_COMPARED, SAME
from bench.tensors import Tensors
from bench.workload import Check

KEPT = 16  # replies to the first distinct requests that a run keeps


class Reference:
    """The reference answers of a workload's distinct requests, and the tolerance they are held to."""

    def __init__(self, check: Check, answers: Tensors) -> None:
        self._check, self._answers = check, answers

    @classmethod
    def load(cls, check: Check, path: Path | None) -> "Reference":
        """From an .npz of output name -> array [distinct, *shape]; without a path nothing is compared."""
        if path is None or not check.reference:
            return cls(check, {})
        with np.load(path) as stored:
            return cls(check, dict(stored))

    def compare(self, payload: int, outputs: Tensors) -> tuple[int, str]:
        """SAME, DIFFERENT or NOT_COMPARED, and what differed: |difference| <= tolerance x the largest |reference|."""
        if not self._answers:
            return NOT_COMPARED, ""
        for name, stored in self._answers.items():
            wanted = np.asarray(stored[payload], np.float64)
            if name not in outputs:
                return DIFFERENT, f"no output {name!r} to compare with the reference answer"
            got = np.asarray(outputs[name], np.float64)
            if got.size != wanted.size:
                return DIFFERENT, f"output {name}: {got.size} values, the reference answer has {wanted.size}"
            difference = float(np.max(np.abs(got.reshape(wanted.shape) - wanted), initial=0.0))
            limit = self._check.tolerance * float(np.max(np.abs(wanted), initial=0.0))
            if not difference <= limit:  # NaN is different
                return DIFFERENT, (
                    f"output {name} of request {payload} differs from the reference answer by {difference:.3g}, "
                    f"allowed is {limit:.3g}; if this server has other weights, set check.reference = false"
                )
        return SAME, ""
