"""A pyfunc that does nothing, with the fleet's columns in and out: what the server around a model costs."""

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel

from serving.contract import COLUMNS_OUT

EMPTY_ROW = dict.fromkeys(COLUMNS_OUT)


class EmptyModel(PythonModel):
    """Answers each row with nothing."""

    def predict(
        self,
        context: Any,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        """One empty object a row."""
        return [EMPTY_ROW] * len(model_input)


set_model(EmptyModel())
