"""Input and output columns of a version that is served alone, and an example row.

Imports no model, because scikit-learn takes seconds to import and registering does not need it. The models
are wrapped in `training.registry.standalone`.
"""

from datetime import datetime

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from training.kinds import Kind

TEXT, NUMBER, FLAG = DataType.string, DataType.double, DataType.boolean

SIGNATURES = {
    Kind.DETECTOR: ModelSignature(
        inputs=Schema([ColSpec(TEXT, "timestamp"), ColSpec(NUMBER, "value")]),
        outputs=Schema(
            [
                ColSpec(TEXT, "timestamp"),
                ColSpec(NUMBER, "value"),
                ColSpec(NUMBER, "anomaly_score"),
                ColSpec(FLAG, "is_anomaly"),
                ColSpec(TEXT, "severity"),
                ColSpec(TEXT, "reason"),
            ]
        ),
    ),
    Kind.FORECASTER: ModelSignature(
        inputs=Schema([ColSpec(TEXT, "timestamp")]),
        outputs=Schema(
            [
                ColSpec(TEXT, "timestamp"),
                ColSpec(NUMBER, "expected"),
                ColSpec(NUMBER, "lower"),
                ColSpec(NUMBER, "upper"),
            ]
        ),
        params=ParamSchema([ParamSpec("horizon", DataType.long, 0)]),
    ),
}


def example_rows(kind: Kind, moment: datetime, value: float) -> pd.DataFrame:
    """One input row for a model of this kind: a reading to score, or a time to forecast.

    >>> example_rows(Kind.FORECASTER, datetime(2026, 1, 1), 20.0)
                  timestamp
    0  2026-01-01T00:00:00Z
    """
    row = {"timestamp": [f"{moment.isoformat()}Z"]}
    return pd.DataFrame(row if kind is Kind.FORECASTER else {**row, "value": [value]})
