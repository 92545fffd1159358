"""The servable fleet: the models-from-code file that `mlflow models serve` runs.

`mlflow models serve -m models:/safeplan-fleet@champion --env-manager local` finds the champions through
`MLFLOW_TRACKING_URI` (or `SAFEPLAN_HOME`) and their readings through `SAFEPLAN_DATABASE_URL`, as every
`safeplan` command does. JSON requests are read by `serving.http.mlflow_adapter` and answered by
`serving.scoring.fleet_scoring`.
"""

from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc.model import PythonModel

from serving.contract import BadRequest, request_from_frame
from serving.http.mlflow_adapter import install_adapter
from serving.http.process_tuning import exclude_models_from_gc, tune_server_process
from serving.scoring.fleet_service import FleetService
from training.workspace import Workspace


class FleetModel(PythonModel):
    """All sensors behind one model."""

    service: FleetService | None = None

    def load_context(self, context: Any) -> None:  # noqa: ARG002
        """Tune the process and start the service; MLflow calls this once, when its server starts."""
        tune_server_process()
        self.service = FleetService(Workspace.here())
        install_adapter(self, self.service)
        self.service.start(when_warm=exclude_models_from_gc)

    def predict(
        self,
        context: Any,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """One object per row."""
        assert self.service is not None
        try:
            request = request_from_frame(model_input, params, self.service.limits)
        except BadRequest as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error
        return self.service.scorer.answer(request).records()


set_model(FleetModel())
