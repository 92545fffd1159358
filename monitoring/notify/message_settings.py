"""What messages add to an alert: the address of the dashboard, and what to do (runbooks)."""

import fnmatch
from urllib.parse import quote, urlencode

from pydantic import Field, field_validator

from monitoring.alerts.kinds import AlertType
from training.data.sensors import Sensor
from training.settings import Settings

# The tab of the dashboard that shows the alerts of a type.
VIEWS = {AlertType.FORECAST_WARNING: "forecast", AlertType.DRIFT: "models"}


class MessageSettings(Settings, file="monitoring", section="messages"):
    """Link to the dashboard and runbooks in messages."""

    page_url: str | None = Field(None, description="address of the dashboard; messages link to the sensor")
    sensor_runbooks: dict[str, str] = Field(
        default_factory=dict, description="what to do, by sensor id or glob pattern; the first match counts"
    )
    type_runbooks: dict[AlertType, str] = Field(
        default_factory=dict, description="what to do where no sensor matches, by alert type"
    )

    @field_validator("page_url")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("the address must begin with http:// or https://")
        return url.rstrip("/") if url else None

    def link(self, sensor: Sensor, kind: AlertType) -> str | None:
        """The address of the page about a sensor's alerts of a type; None without an address.

        >>> MessageSettings(page_url="http://plant:8501/").link(Sensor(id="PT/1"), AlertType.ANOMALY)
        'http://plant:8501/?view=anomalies&sensor=PT%2F1'
        """
        if self.page_url is None:
            return None
        query = {"view": VIEWS.get(kind, "anomalies"), "sensor": sensor.id}
        return f"{self.page_url}/?{urlencode(query, quote_via=quote, safe='')}"

    def runbook(self, sensor: Sensor, kind: AlertType) -> str | None:
        """What to do about an alert, or None."""
        for pattern, text in self.sensor_runbooks.items():
            if sensor.id == pattern or fnmatch.fnmatchcase(sensor.id, pattern):
                return text
        return self.type_runbooks.get(kind)
