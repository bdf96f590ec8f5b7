"""Where the level of a series changes: binary segmentation (ruptures), with a penalty that noise hardly ever reaches.

`python -m bench.evidence.history` measures how often a change is seen where there is none, and where there is one.
"""

import numpy as np

PENALTY = 16.0  # what n times the logarithm of the scatter has to fall by, for each change
_MOST = 3  # changes in a series
_SHORTEST = 2  # runs that make a level: one alone may be an outlier
_SMALLEST = 1e-3  # a smaller scatter of logarithms is nothing to go by: no two runs are so alike


def level_starts(values: np.ndarray) -> list[int]:
    """The positions at which a level begins, 0 first; `values` float [n > 0], such as logarithms, oldest first.

    How much the series scatters is not known beforehand: of no change, one, two and three, that many are taken at which
    n log(variance within levels) + PENALTY x changes is least.
    """
    from ruptures import Binseg  # brings SciPy's parts that nothing else needs

    count = len(values)
    if count < 2 * _SHORTEST:
        return [0]
    found = Binseg(model="l2", min_size=_SHORTEST, jump=1).fit(values.reshape(-1, 1))
    ends = [[count], *(found.predict(n_bkps=n) for n in range(1, min(_MOST, count // _SHORTEST - 1) + 1))]
    variances = [max(found.cost.sum_of_costs(of), 0.0) / count + _SMALLEST**2 for of in ends]
    best = int(np.argmin(count * np.log(variances) + PENALTY * np.arange(len(ends))))
    return [0, *ends[best][:-1]]
