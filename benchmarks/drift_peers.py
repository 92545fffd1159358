"""Evidently's default and three of its methods, at their own thresholds.

Each is called as Evidently's own reports call it, on the bare values.
"""

from collections.abc import Callable, Mapping

import pandas as pd
from evidently.legacy.calculations.stattests import get_stattest
from evidently.legacy.core import ColumnType

Peer = Callable[[pd.Series, pd.Series], tuple[float, bool]]


def _method(name: str | None) -> Peer:
    def judge(reference: pd.Series, current: pd.Series) -> tuple[float, bool]:
        test = get_stattest(reference, current, ColumnType.Numerical, name)
        result = test(
            reference_data=reference, current_data=current, feature_type=ColumnType.Numerical, threshold=None
        )
        # A p-value falls and a distance rises with drift; ours is a p, so a distance is turned round.
        is_p = test.name in {"ks", "z", "chisquare"}
        score = float(result.drift_score)
        return (score if is_p else -score), bool(result.drifted)

    return judge


PEERS: Mapping[str, Peer] = {
    "Evidently default": _method(None),
    "KS": _method("ks"),
    "PSI": _method("psi"),
    "Wasserstein": _method("wasserstein"),
}
