"""The chart of one alert: the readings around it, its duration and the limits, as SVG or PNG.

Drawn with Matplotlib's object interface, which needs no display and no global state.
"""

import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pandas as pd
from matplotlib import dates
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from monitoring.alerts.alert import Alert
from monitoring.i18n.translation import Translator, unit_symbol
from monitoring.notify.message import alert_name
from training.common.downsampling import downsample
from training.data.readings import GOOD_QUALITY
from training.data.sensors import Sensor
from training.workspace import Workspace

SIZE_INCHES = (7.0, 2.1)
DPI = 110
MIN_MARGIN = timedelta(minutes=30)  # shown before and after the alert, and at least half of its duration
MAX_BUCKETS = 500  # each keeps up to four readings
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - of Matplotlib's day numbers, naive UTC
READINGS_COLOUR, ALERT_COLOUR, LIMIT_COLOUR = "#1b4f72", "#f5b041", "#b03a2e"


@dataclass(frozen=True)
class AlertChart:
    """The chart of one alert in one language."""

    title: str
    readings: pd.DataFrame  # columns timestamp (naive UTC) and value
    began_at: datetime
    ended_at: datetime
    limits: tuple[tuple[str, float], ...]  # name, value
    unit: str
    words: Translator

    def svg(self) -> str:
        """The chart as an SVG element for a page."""
        text = self._drawn("svg").decode()
        return text[text.index("<svg") :]

    def png(self) -> bytes:
        """The chart as an image."""
        return self._drawn("png")

    def _drawn(self, form: str) -> bytes:
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.plot(
            self.readings["timestamp"].dt.tz_localize(UTC),
            self.readings["value"],
            color=READINGS_COLOUR,
            linewidth=1,
        )
        began, ended = (at.replace(tzinfo=UTC) for at in (self.began_at, self.ended_at))
        axes.axvspan(began, ended, color=ALERT_COLOUR, alpha=0.25)  # type: ignore[arg-type]
        low, high = axes.get_ylim()
        for name, limit in self.limits:
            # A limit far away would flatten the curve.
            if low - (high - low) <= limit <= high + (high - low):
                axes.axhline(limit, color=LIMIT_COLOUR, linewidth=0.8, linestyle="--")
                axes.annotate(
                    name, (0.005, limit), xycoords=("axes fraction", "data"), fontsize=7, va="bottom"
                )
        # With its five ticks at least, no interval between 30 minutes and an hour fits three to five hours.
        zone = self.words.zone
        locator = dates.AutoDateLocator(tz=zone, minticks=2, maxticks=6)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(FuncFormatter(self._time_label))
        axes.set_ylabel(self.unit, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        written = io.BytesIO()
        figure.savefig(written, format=form, dpi=DPI, metadata={"Date": None} if form == "svg" else None)
        return written.getvalue()

    def _time_label(self, day_number: float, _place: int | None) -> str:
        """A time on the axis as the reader's language writes it."""
        at = EPOCH + timedelta(days=day_number)
        shown = self.ended_at - self.began_at
        return self.words.moment(at, "HH:mm" if shown < timedelta(hours=12) else None)


def load_chart(
    workspace: Workspace, alert: Alert, *, start: datetime, end: datetime, words: Translator
) -> AlertChart:
    """The chart of an alert between `start` and `end` of the shift, with a margin around it."""
    began, ended = max(alert.began_at, start), min(alert.returned_at or end, end)
    margin = max(MIN_MARGIN, (ended - began) / 2)
    sensor_id = alert.topic.sensor_id
    readings = workspace.readings.between(
        sensor_id, began - margin, min(ended + margin, end), quality=GOOD_QUALITY
    )
    sensor = workspace.fleet.get(sensor_id) or Sensor(id=sensor_id)
    return AlertChart(
        title=f"{alert.id} · {sensor.id} {sensor.name}".rstrip() + f": {alert_name(words, alert)}",
        readings=downsample(readings, MAX_BUCKETS),
        began_at=began,
        ended_at=max(ended, began + timedelta(seconds=1)),
        limits=_limits(words, sensor),
        unit=unit_symbol(sensor.unit),
        words=words,
    )


def _limits(_: Translator, sensor: Sensor) -> tuple[tuple[str, float], ...]:
    limits = (
        (_("critical high"), sensor.critical_high),
        (_("high limit"), sensor.warning_high),
        (_("low limit"), sensor.warning_low),
        (_("critical low"), sensor.critical_low),
    )
    return tuple((name, limit) for name, limit in limits if limit is not None)
