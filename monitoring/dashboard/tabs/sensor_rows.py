"""Rows of a table of sensors, filtered and cut on the server: a large fleet costs no more than a small one.

Streamlit would send all rows to each browser at each change. The tables themselves are in `tabs.fleet` and
`tabs.models`.
"""

from collections.abc import Mapping, Sequence

import streamlit as st

from monitoring.i18n.translation import Translator
from training.data.sensors import Sensor

MAX_ROWS = 200


def pick_rows(_: Translator, ranked_ids: Sequence[str], sensors: Mapping[str, Sensor], key: str) -> list[str]:
    """The sensors that a table shows: the first of the ranking, of those that match the filter.

    The filter is offered where not all sensors are shown.
    """
    if len(ranked_ids) <= MAX_ROWS:
        return list(ranked_ids)
    text = st.text_input(_("Filter"), key=key, placeholder=_("Id, name or platform"), max_chars=100)
    matching = filter_sensors(ranked_ids, sensors, text or "")
    shown = matching[:MAX_ROWS]
    st.caption(
        _(
            "{shown} of {count} sensors shown; use the filter to find others.",
            shown=_.number(len(shown)),
            count=_.number(len(matching)),
        )
    )
    return shown


def filter_sensors(ids: Sequence[str], sensors: Mapping[str, Sensor], text: str) -> list[str]:
    """The sensors with every word of the text in their id, name or platform; case does not matter."""
    words = text.casefold().split()
    return [sensor_id for sensor_id in ids if all(word in _search_text(sensors[sensor_id]) for word in words)]


def _search_text(sensor: Sensor) -> str:
    return f"{sensor.id} {sensor.name} {sensor.platform}".casefold()
