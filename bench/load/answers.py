"""Comparing replies with the reference answers."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bench import answers
from bench.record import DIFFERENT, NOT_COMPARED, SAME
from bench.tensors import Tensors
from bench.workload import Check

KEPT = 16  # replies to the first distinct requests that a run keeps

_TOKENS, _MARGIN = "tokens", "margin"


class Reference:
    """The reference answers of a workload's distinct requests, and the tolerance they are held to."""

    def __init__(self, check: Check, stored: Mapping[int, Tensors], tolerance: float = 0.0) -> None:
        self.tolerance, self._stored = max(check.tolerance, tolerance), stored

    @classmethod
    def load(cls, check: Check, path: Path | None) -> "Reference":
        """From a file of `bench.answers`; without one nothing is compared. UsageError where it cannot be read."""
        if path is None or not check.reference:
            return cls(check, {})
        stored, about = answers.read(path)
        return cls(check, stored, float(about.get(answers.TOLERANCE, 0.0)))

    def compare(self, payload: int, outputs: Tensors) -> tuple[int, str]:
        """SAME, DIFFERENT or NOT_COMPARED, and what differed.

        Numbers: |difference| <= tolerance x the largest |reference| of the output; the tolerance is the workload's or the
        one that the reference brings, whichever is larger. Texts are equal, and so are whole numbers of 32 and 64 bits:
        they are ids, labels and counts, and 1 % of the largest would make neighbours of any two. Tokens are equal up to a
        near tie: where they part, the reference's token led by at most the tolerance.
        """
        if (wanted := self._stored.get(payload)) is None:
            return NOT_COMPARED, ""
        if _TOKENS in wanted and _TOKENS not in outputs:  # a server that streams text tells no ids that could be held to others
            return NOT_COMPARED, ""
        for name, reference in wanted.items():
            if name == _MARGIN and _TOKENS in wanted:
                continue
            if name not in outputs:
                return DIFFERENT, f"no output {name!r} to compare with the reference answer"
            if name == _TOKENS and _MARGIN in wanted:
                problem = _tokens(outputs[name], reference, wanted[_MARGIN], self.tolerance)
            else:
                problem = _values(outputs[name], reference, self.tolerance)
            if problem:
                return DIFFERENT, f"output {name} of request {payload}: {problem}"
        return SAME, ""


def _values(got: np.ndarray, wanted: np.ndarray, tolerance: float) -> str:
    """How one output differs from its reference; "" where it does not."""
    if got.size != wanted.size:
        return f"{got.size} values of shape {list(got.shape)}, the reference answer has {wanted.size} of {list(wanted.shape)}"
    got = got.reshape(wanted.shape)
    if got.dtype.kind == "O" or wanted.dtype.kind == "O":
        return _texts(got, wanted)
    if wanted.dtype.kind in "iu" and wanted.dtype.itemsize >= 4:
        return _whole_numbers(got, wanted)
    difference, largest = distance(got, wanted)
    if difference == math.inf:
        return "infinite or no number in other places than the reference answer"
    limit = tolerance * largest
    if difference <= limit:
        return ""
    return (
        f"differs from the reference answer by {difference:.3g}, allowed is {limit:.3g}; "
        "if this server has other weights, set check.reference = false"
    )


def distance(got: np.ndarray, wanted: np.ndarray) -> tuple[float, float]:
    """(the greatest difference of two values, the largest |value| in `wanted`) of as many numbers.

    The difference is inf where one has infinite values, or none, in other places than the other.
    """
    ours, theirs = np.asarray(got, np.float64).ravel(), np.asarray(wanted, np.float64).ravel()
    finite = np.isfinite(theirs)
    largest = float(np.max(np.abs(theirs[finite]), initial=0.0))
    if not (np.isfinite(ours[finite]).all() and np.array_equal(ours[~finite], theirs[~finite], equal_nan=True)):
        return math.inf, largest
    return float(np.max(np.abs(ours[finite] - theirs[finite]), initial=0.0)), largest


def _whole_numbers(got: np.ndarray, wanted: np.ndarray) -> str:
    # not by way of float64, which takes neighbours above 2**53 for the same
    if got.dtype != wanted.dtype:
        return f"is of type {got.dtype}, the reference answer of {wanted.dtype}"
    parted = np.flatnonzero(got.ravel() != wanted.ravel())
    if not parted.size:
        return ""
    n = int(parted[0])
    return f"value {n} is {got.ravel()[n]}, the reference answer has {wanted.ravel()[n]}; whole numbers are to be equal"


def _texts(got: np.ndarray, wanted: np.ndarray) -> str:
    for n, (ours, theirs) in enumerate(zip(got.ravel().tolist(), wanted.ravel().tolist(), strict=True)):
        if ours != theirs:
            return f"text {n} is {_excerpt(ours)}, the reference answer has {_excerpt(theirs)}"
    return ""


def _tokens(got: np.ndarray, wanted: np.ndarray, margin: np.ndarray, tolerance: float) -> str:
    if got.size != wanted.size:
        return f"{got.size} tokens, the reference answer has {wanted.size}"
    parted = np.flatnonzero(got.ravel() != wanted)
    # after a near tie the two go on from different tokens, and nothing more can be compared
    if not parted.size or margin[parted[0]] <= tolerance:
        return ""
    n = int(parted[0])
    return (
        f"token {n} is {got.ravel()[n]}, the reference answer has {wanted[n]}, which led by {margin[n]:.3g} of the largest "
        f"logit; a tie is at most {tolerance:.3g}; if this server has other weights, set check.reference = false"
    )


def _excerpt(text: object) -> str:
    return f"{text!r:.60}"
