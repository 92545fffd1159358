"""The list of shelved alerts on the Overview tab, always in view: by whom, until when, and the way back.

ISA-18.2 requires that list: a shelved alert is left out of what requires action. Alerts are shelved on the
tab of their sensor (`tabs.alerts`).
"""

from collections.abc import Collection, Mapping
from html import escape

import streamlit as st

from monitoring.alerts.alert import Alert
from monitoring.dashboard.tabs.alerts import alert_badge, alert_text, show_unshelve_button
from monitoring.dashboard.url_state import has_role
from monitoring.i18n.translation import Translator
from monitoring.notify.message import alert_name
from serving.http.tokens import Role
from training.data.sensors import Sensor


def show_shelved(_: Translator, alerts: Collection[Alert], sensors: Mapping[str, Sensor]) -> None:
    """The shelved alerts, those that end first on top; one line where there is none."""
    st.markdown(f"#### {_('Shelved alerts')}")
    shelved = [alert for alert in alerts if alert.shelved_until and alert.topic.sensor_id in sensors]
    if not shelved:
        st.caption(_("No alert is shelved."))
        return
    with st.container(key="shelved", gap=None):
        for alert in sorted(shelved, key=lambda alert: str(alert.shelved_until)):
            _show_one(_, alert, sensors[alert.topic.sensor_id])


def _show_one(_: Translator, alert: Alert, sensor: Sensor) -> None:
    assert alert.shelved_until is not None
    text_column, button_column = st.columns([8, 1.6], vertical_alignment="center")
    until = _(
        "shelved by {who} until {moment}",
        who=alert.shelved_by or "-",
        moment=_.moment_with_zone(alert.shelved_until),
    )
    with text_column:
        what = f"{alert_name(_, alert)}: {alert_text(_, alert, sensor)}"
        st.html(
            f"{alert_badge(_, alert)} <b>{escape(sensor.id)}</b> {escape(what)}"
            f'<br><small class="sp-faint">{escape(until)}</small>'
        )
    with button_column:
        if has_role(Role.OPERATE):
            show_unshelve_button(_, alert)
