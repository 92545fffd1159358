"""Client of the endpoint: sends readings and returns predictions; a refused request raises `Refused`.

Needs the standard library only. Columns and limits are in `serving.contract`.
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
    """The endpoint refused; `status` is the HTTP status, or None where the endpoint is unreachable."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Prediction:
    """One row of an answer; missing values are None."""

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
    """Sends requests to one endpoint; safe for several threads."""

    def __init__(
        self, url: str = "http://127.0.0.1:8080", *, token: str | None = None, seconds: float = 60.0
    ) -> None:
        self.url = url.rstrip("/")
        self.seconds = seconds
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"

    def ask(self, rows: Iterable[Row], *, horizon: int = 0) -> list[Prediction]:
        """One prediction per row, in order, then the next `horizon` steps of each sensor in the request.

        A time without a zone is read in the zone of the endpoint's settings.

        Raises:
            Refused: with the endpoint's message.
        """
        records = [
            {"sensor_id": sensor_id, "timestamp": _format_time(time), "value": value}
            for sensor_id, time, value in rows
        ]
        body = {"dataframe_records": records, "params": {"horizon": horizon}}
        return [Prediction(**row) for row in self._answer("/invocations", body)["predictions"]]

    def models(self) -> list[dict[str, Any]]:
        """The version that serves each sensor in memory, and since when."""
        return list(self._answer("/models")["models"])

    def _answer(self, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, content, self._headers)  # noqa: S310 - the URL is the caller's
        try:
            with urlopen(request, timeout=self.seconds) as answer:  # noqa: S310
                return json.loads(answer.read())
        except HTTPError as error:
            raise Refused(_error_text(error.read()), error.code) from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise Refused(f"{self.url} does not answer: {reason}. Is safeplan serve running?") from error


def _format_time(time: datetime | str) -> str:
    return time if isinstance(time, str) else time.isoformat()


def _error_text(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace")
