"""Tables of sensors are filtered and cut on the server."""

from streamlit.testing.v1 import AppTest

from monitoring.dashboard.tabs.sensor_rows import MAX_ROWS, filter_sensors
from tests.support.dashboard_app import PATIENCE
from training.data.sensors import Sensor

SENSORS = {
    "PT-1": Sensor(id="PT-1", name="Wellhead pressure", platform="P-48"),
    "PT-2": Sensor(id="PT-2", name="Wellhead pressure", platform="P-50"),
    "TT-1": Sensor(id="TT-1", name="Flow line temperature", platform="P-50"),
}


def test_a_filter_finds_words_of_id_name_and_platform_in_any_case():
    assert filter_sensors(list(SENSORS), SENSORS, "pressure p-50") == ["PT-2"]
    assert filter_sensors(list(SENSORS), SENSORS, "tt-1") == ["TT-1"]
    assert filter_sensors(list(SENSORS), SENSORS, "pump") == []


def test_an_empty_filter_keeps_all_sensors_in_their_order():
    assert filter_sensors(["TT-1", "PT-1"], SENSORS, " ") == ["TT-1", "PT-1"]


SCRIPT = """
import streamlit as st

from monitoring.dashboard.tabs.sensor_rows import pick_rows
from monitoring.i18n.translation import Translator
from training.data.sensors import Sensor

sensors = {f"S-{number:04d}": Sensor(id=f"S-{number:04d}") for number in range(1_000)}
st.session_state["shown"] = pick_rows(Translator(), list(sensors), sensors, "filter")
"""


def test_a_large_table_shows_the_first_rows_and_finds_the_others():
    app = AppTest.from_string(SCRIPT, default_timeout=PATIENCE).run()
    assert len(app.session_state["shown"]) == MAX_ROWS
    assert "of 1,000 sensors shown" in app.caption[0].value

    app.text_input(key="filter").input("S-0999").run()

    assert app.session_state["shown"] == ["S-0999"]
