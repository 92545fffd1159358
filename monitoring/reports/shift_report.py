"""The shift report for the handover: its figures, tables and charts, as values in one language.

Cells are values, so that a spreadsheet sorts and filters them. Figures are computed in `shift_figures` and
charts drawn in `alert_chart`; the report is written as HTML, Excel or PDF in `report_files`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.alerts.alert import Alert
from monitoring.alerts.evidence_text import evidence_text
from monitoring.alerts.kinds import (
    AlertChange,
    AlertState,
    AlertType,
    severity_label,
    state_name,
    verdict_name,
)
from monitoring.alerts.maintenance import MaintenanceWindow, list_maintenance
from monitoring.alerts.sensor_status import SensorStatus, status_name
from monitoring.alerts.status_loader import load_detectors, load_statuses
from monitoring.alerts.store import FLOOD_SUBJECT
from monitoring.i18n.translation import Translator, unit_symbol
from monitoring.notify.message import alert_name, change_name
from monitoring.reports.alert_chart import AlertChart, load_chart
from monitoring.reports.limit_risks import LimitRisk, find_risks
from monitoring.reports.shift_figures import ShiftFigures, load_figures
from monitoring.watch.operator_actions import list_alerts
from training.data.sensors import Fleet, Sensor
from training.registry.audit import ALIAS_MOVES, PROMOTED, ROLLED_BACK, AuditEntry, entries
from training.workspace import Workspace

MAX_CHARTS = 20  # of the most severe alerts; a chart takes 0.1 s and 15 kB

Cell = str | int | float | datetime | timedelta | None  # times are naive UTC


def cell_text(_: Translator, cell: Cell) -> str:
    """A cell as the reader's language writes it."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return _.moment(cell)
    if isinstance(cell, timedelta):
        return _.duration(cell.total_seconds())
    return cell if isinstance(cell, str) else _.number(cell)


@dataclass(frozen=True)
class ReportSection:
    """One table of the report."""

    title: str
    empty: str  # shown instead of a table without rows
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @property
    def filled_columns(self) -> list[int]:
        """The columns that have a value in any row; the others are left out of pages."""
        return [i for i in range(len(self.columns)) if any(row[i] not in (None, "") for row in self.rows)]


@dataclass(frozen=True)
class ShiftReport:
    """The report in one language."""

    title: str
    header: Sequence[tuple[str, str]]  # period, time zone, author
    figures: ReportSection
    sections: Sequence[ReportSection]
    charts: Sequence[AlertChart]
    signatures: Sequence[str]
    words: Translator


def build_shift_report(
    workspace: Workspace, *, start: datetime, end: datetime, author: str, words: Translator
) -> ShiftReport:
    """The report of the shift from `start` until `end` (naive UTC)."""
    _, fleet = words, workspace.fleet
    alerts = list_alerts(workspace, alive=None, start=start, end=end)
    instrument_alerts = [
        a for a in alerts if a.topic.type is AlertType.INSTRUMENT and a.topic.subject != FLOOD_SUBJECT
    ]
    process_alerts = [a for a in alerts if a not in instrument_alerts]
    shelved = [a for a in alerts if a.shelved_until is not None and a.state is not AlertState.CLOSED]
    windows = [work for work in list_maintenance(workspace, since=start) if work.start < end]
    risks = find_risks(workspace, list(fleet.values()), start=end, end=end + (end - start))
    drawn = [a for a in process_alerts if a.topic.subject != FLOOD_SUBJECT][:MAX_CHARTS]
    return ShiftReport(
        title=_("Shift report"),
        header=(
            (_("Period"), _("{start} to {end}", start=_.moment(start), end=_.moment(end))),
            (_("Time zone"), _.zone_name(end)),
            (_("Author"), author),
        ),
        figures=_figures_section(_, load_figures(workspace, alerts, windows, start=start, end=end)),
        sections=(
            _alerts_section(_, fleet, _("Alerts and verdicts"), _("No alerts."), process_alerts, end),
            _alerts_section(
                _, fleet, _("Instruments in fault"), _("No instrument is in fault."), instrument_alerts, end
            ),
            _shelved_section(_, fleet, shelved),
            _maintenance_section(_, fleet, windows),
            _risks_section(_, risks),
            _monitoring_section(_, workspace, end),
            _model_changes_section(_, _load_model_changes(workspace, start, end)),
        ),
        charts=[load_chart(workspace, alert, start=start, end=end, words=_) for alert in drawn],
        signatures=(_("Handed over by"), _("Taken over by")),
        words=_,
    )


def _figures_section(_: Translator, figures: ShiftFigures) -> ReportSection:
    """The key figures; accepted rates are those of ISA-18.2 and EEMUA 191 for one operator."""
    per_hour = _(
        "at most {acceptable} are acceptable, {maximum} manageable (ISA-18.2)", acceptable=6, maximum=12
    )
    in_ten = _("10 or more are a flood (EEMUA 191)")
    rows: list[tuple[Cell, ...]] = [
        (_("Calls"), figures.calls, _("an alert opened, became worse or active again")),
        (_("Calls per operator-hour"), round(figures.calls_per_operator_hour, 2), per_hour),
        (_("Most calls in 10 minutes"), figures.most_in_ten_minutes, in_ten),
        (_("Alerts"), figures.alerts, ""),
        (_("Active alerts"), figures.active, ""),
        (_("Unacknowledged alerts"), figures.unacknowledged, ""),
        (_("Median time to acknowledge"), figures.median_acknowledge_time, ""),
        (_("Shelved alerts"), figures.shelved, ""),
        (_("Maintenance windows"), figures.maintenance, ""),
    ]
    return ReportSection(_("Key figures"), "", (_("Figure"), _("Value"), _("Remark")), rows)


def _alerts_section(
    _: Translator, fleet: Fleet, title: str, empty: str, alerts: Sequence[Alert], end: datetime
) -> ReportSection:
    columns = (
        *(_("No."), _("Severity"), _("Type"), _("Sensor"), _("Platform"), _("Since"), _("Until")),
        *(_("Duration"), _("Value"), _("Unit"), _("State"), _("Acknowledged"), _("Acknowledged by")),
        *(_("Verdict"), _("Verdict by"), _("Why"), _("Comment")),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            alert.id,
            severity_label(_, alert.severity),
            alert_name(_, alert),
            _sensor_title(fleet, alert.topic.sensor_id),
            alert.topic.platform,
            alert.began_at,
            alert.returned_at,
            (alert.returned_at or end) - alert.began_at,
            alert.evidence.value,
            _unit(fleet, alert),
            _state_text(_, alert),
            alert.acknowledged_at,
            alert.acknowledged_by,
            verdict_name(_, alert.verdict) if alert.verdict else "",
            alert.verdict_by,
            evidence_text(_, alert, _unit(fleet, alert)),
            alert.note,
        )
        for alert in alerts
    ]
    return ReportSection(title, empty, columns, rows)


def _state_text(_: Translator, alert: Alert) -> str:
    """The state, and how often the episode was repeated: it is one line however often that is."""
    state = state_name(_, alert.state)
    if alert.settled is not None:
        state = f"{state}, {change_name(_, AlertChange.SETTLED)}"
    return _("{state}, repeated {count} times", state=state, count=alert.repeats) if alert.repeats else state


def _monitoring_section(_: Translator, workspace: Workspace, now: datetime) -> ReportSection:
    """The sensors that no detector which passed the gate watches."""
    sensors = workspace.fleet.match() if workspace.fleet else []
    detectors = load_detectors(workspace, sensors, now=now)
    conditions = load_statuses(workspace.engine, sensors, detectors, now=now)
    rows: list[tuple[Cell, ...]] = [
        (
            _sensor_title(workspace.fleet, sensor_id),
            status_name(_, condition.monitoring),
            "" if condition.coverage.reason is None else _.reason_text((condition.coverage.reason,), ""),
        )
        for sensor_id, condition in conditions.items()
        if condition.monitoring is not SensorStatus.NORMAL
    ]
    empty = _("Every sensor is monitored by a detector that passed the gate.")
    return ReportSection(_("Weakly or not monitored"), empty, (_("Sensor"), _("Monitoring"), _("Why")), rows)


def _shelved_section(_: Translator, fleet: Fleet, alerts: Sequence[Alert]) -> ReportSection:
    columns = (_("No."), _("Severity"), _("Sensor"), _("Type"), _("Shelved until"), _("By"))
    rows: list[tuple[Cell, ...]] = [
        (
            alert.id,
            severity_label(_, alert.severity),
            _sensor_title(fleet, alert.topic.sensor_id),
            alert_name(_, alert),
            alert.shelved_until,
            alert.shelved_by,
        )
        for alert in alerts
    ]
    return ReportSection(_("Shelved alerts"), _("No alert is shelved."), columns, rows)


def _maintenance_section(_: Translator, fleet: Fleet, windows: Sequence[MaintenanceWindow]) -> ReportSection:
    columns = (_("Sensor or platform"), _("From"), _("Until"), _("Work"), _("By"))
    rows: list[tuple[Cell, ...]] = [
        (
            _sensor_title(fleet, work.sensor_id) if work.sensor_id else work.platform,
            work.start,
            work.end,
            work.reason,
            work.made_by,
        )
        for work in windows
    ]
    return ReportSection(_("Maintenance"), _("No maintenance in this shift."), columns, rows)


def _risks_section(_: Translator, risks: Sequence[LimitRisk]) -> ReportSection:
    columns = (
        *(_("Sensor"), _("Limit"), _("Newest reading"), _("Unit"), _("Reached at"), _("Probability")),
        _("Forecast from"),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            _sensor_name(risk.sensor),
            risk.limit,
            risk.value,
            unit_symbol(risk.sensor.unit),
            risk.at,
            _.percent(risk.probability),
            risk.forecast_at,
        )
        for risk in risks
    ]
    return ReportSection(_("At risk in the next shift"), _("No critical limit is at risk."), columns, rows)


def _load_model_changes(workspace: Workspace, start: datetime, end: datetime) -> list[AuditEntry]:
    """Changes of champions, oldest first."""
    all_entries = entries(workspace.engine, since=start)
    return [entry for entry in reversed(all_entries) if entry.action in ALIAS_MOVES and entry.at < end]


def _model_changes_section(_: Translator, entries: Sequence[AuditEntry]) -> ReportSection:
    """One line per change; the gate's reasons are on the dashboard and in MLflow."""
    columns = (_("Time"), _("Model"), _("Change"), _("Version"), _("Before"), _("By"))
    change_names = {PROMOTED: _("promoted"), ROLLED_BACK: _("rolled back")}
    rows: list[tuple[Cell, ...]] = [
        (
            entry.at,
            entry.subject,
            change_names.get(entry.action, _("withdrawn")),
            entry.version,
            entry.detail.get("before"),
            entry.who,
        )
        for entry in entries
    ]
    return ReportSection(_("Model changes"), _("No model has changed."), columns, rows)


def _sensor_title(fleet: Fleet, sensor_id: str) -> str:
    """A sensor's id and name."""
    sensor = fleet.get(sensor_id)
    return sensor_id if sensor is None else _sensor_name(sensor)


def _sensor_name(sensor: Sensor) -> str:
    return " ".join(filter(None, (sensor.id, sensor.name)))


def _unit(fleet: Fleet, alert: Alert) -> str:
    sensor = fleet.get(alert.topic.sensor_id)
    return "" if sensor is None else unit_symbol(sensor.unit)
