"""A client of the endpoint: readings out, predictions in, a refusal as an error.

Knows URLs and JSON, and needs nothing but Python. What is asked and answered is `contract`'s.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from training.errors import SafePlanError

Row = tuple[str, datetime | str, float | None]  # sensor, time, and the value to score or None to forecast


class Refused(SafePlanError):
    """The endpoint did not answer; `status` is that of HTTP, or None where it could not be reached."""

    def __init__(self, sentence: str, status: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Prediction:
    """One row of answer; what it does not say is None."""

    sensor_id: str | None
    timestamp: str | None
    value: float | None
    anomaly_score: float | None
    is_anomaly: bool | None
    severity: str | None
    threshold: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    historical_average: float | None
    historical_std: float | None
    reason: str | None
    detector_version: str | None
    forecaster_version: str | None
    error: str | None


class FleetClient:
    """Asks one endpoint; safe for several threads."""

    def __init__(
        self, url: str = "http://127.0.0.1:8080", *, token: str | None = None, seconds: float = 60.0
    ) -> None:
        self.url = url.rstrip("/")
        self.seconds = seconds
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def ask(self, rows: Iterable[Row], *, horizon: int = 0) -> list[Prediction]:
        """One prediction for each row, in order, then the next `horizon` steps of each sensor named.

        A time without a zone is taken to be in the zone of the endpoint's conf.

        Raises:
            Refused: with the endpoint's own sentence.
        """
        records = [
            {"sensor_id": sensor_id, "timestamp": _format_time(moment), "value": value}
            for sensor_id, moment, value in rows
        ]
        body = {"dataframe_records": records, "params": {"horizon": horizon}}
        return [Prediction(**row) for row in self._answer("/invocations", body)["predictions"]]

    def models(self) -> list[dict[str, Any]]:
        """Which version serves each sensor in memory, since when."""
        return list(self._answer("/models")["models"])

    def _answer(self, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, content, self._headers)  # noqa: S310 - the address is the caller's
        try:
            with urlopen(request, timeout=self.seconds) as answer:  # noqa: S310
                return json.loads(answer.read())
        except HTTPError as error:
            raise Refused(_error_text(error.read()), error.code) from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise Refused(f"{self.url} does not answer: {reason}. Is safeplan serve running?") from error


def _format_time(moment: datetime | str) -> str:
    return moment if isinstance(moment, str) else moment.isoformat()


def _error_text(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
