"""Settings: defaults, then the file, then the environment; what cannot be meant says where it stands."""

import importlib
from pathlib import Path

import pytest
import yaml
from pydantic import Field, ValidationError

from training import settings
from training.errors import ConfigurationError
from training.settings import PACKAGED_CONF, Settings, home, load

# Every module that declares a section of conf/training.yaml.
DECLARING = (
    "storage.database",
    "registry.tracking",
    "ingest.row_validation",
    "quality.windows",
    "quality.fault_checks",
    "evaluation.gate",
    "pipeline.plan",
)


class Kettle(Settings, file="kitchen", section="kettle"):
    """How water is boiled."""

    degrees: float = Field(100, gt=0, le=100)
    cups: int = 2
    whistles: bool = True
    notes: tuple[str, ...] = ()


@pytest.fixture
def kitchen(tmp_path):
    """Write kitchen.yaml and read the kettle's section of it."""

    def read(text=None, **environ):
        if text is not None:
            (tmp_path / "kitchen.yaml").write_text(text, encoding="utf-8")
        return load(Kettle, environ=environ, folder=tmp_path)

    return read


def test_without_a_file_the_defaults_hold(kitchen):
    assert kitchen() == Kettle()


@pytest.mark.parametrize("text", ["", "# nothing yet", "kettle:", "oven: {degrees: 900}"])
def test_a_section_that_is_not_written_leaves_the_defaults(kitchen, text):
    assert kitchen(text) == Kettle()


def test_the_file_wins_over_the_defaults_and_the_environment_over_the_file(kitchen):
    found = kitchen("kettle: {degrees: 80, cups: 3}", SAFEPLAN_KETTLE_CUPS="5")

    assert (found.degrees, found.cups) == (80, 5)


def test_the_environment_may_hold_flags_and_lists(kitchen):
    found = kitchen(SAFEPLAN_KETTLE_WHISTLES="false", SAFEPLAN_KETTLE_NOTES="[green, black]")

    assert (found.whistles, found.notes) == (False, ("green", "black"))


def test_an_empty_variable_says_nothing(kitchen):
    assert kitchen("kettle: {cups: 3}", SAFEPLAN_KETTLE_CUPS="").cups == 3


def test_an_unknown_key_is_named_with_those_that_are_known(kitchen):
    with pytest.raises(ConfigurationError, match=r"kettle\.degres.*Known settings of kettle: degrees, cups"):
        kitchen("kettle: {degres: 80}")


def test_a_value_out_of_bounds_is_named_with_the_file(kitchen, tmp_path):
    with pytest.raises(ConfigurationError, match=r"kettle\.degrees = 120.*kitchen\.yaml"):
        kitchen("kettle: {degrees: 120}")


def test_a_wrong_value_of_the_environment_is_named_with_its_variable(kitchen):
    with pytest.raises(ConfigurationError, match=r"environment SAFEPLAN_KETTLE_CUPS"):
        kitchen(SAFEPLAN_KETTLE_CUPS="many")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kettle: [", "is not readable YAML"),
        ("- kettle", "must hold sections by name, not a list"),
        ("kettle: hot", "kettle must hold settings by name, not 'hot'"),
        ("kettle: \x00", "is not readable YAML"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(kitchen, text, says):
    with pytest.raises(ConfigurationError, match=says):
        kitchen(text)


def test_a_file_in_another_encoding_is_refused(kitchen, tmp_path):
    (tmp_path / "kitchen.yaml").write_bytes("kettle: {notes: [thé]}".encode("latin-1"))

    with pytest.raises(ConfigurationError, match="not readable YAML"):
        kitchen()


def test_a_variable_that_is_no_yaml_is_refused_by_its_name(kitchen):
    with pytest.raises(ConfigurationError, match="SAFEPLAN_KETTLE_NOTES"):
        kitchen(SAFEPLAN_KETTLE_NOTES="[green")


def test_a_wrong_part_of_a_list_is_still_the_variables_fault(kitchen):
    with pytest.raises(ConfigurationError, match=r"kettle\.notes\.1 = .*environment SAFEPLAN_KETTLE_NOTES"):
        kitchen(SAFEPLAN_KETTLE_NOTES="[green, [black]]")


def test_settings_cannot_be_changed_once_read(kitchen):
    with pytest.raises(ValidationError):
        kitchen().cups = 9


def test_the_conf_folder_is_the_named_one_then_the_homes_then_the_packaged(tmp_path):
    own, named = tmp_path / "conf", tmp_path / "named"
    at_home = {"SAFEPLAN_HOME": str(tmp_path)}

    before = settings.conf_folder(at_home)
    own.mkdir()
    named.mkdir()

    assert before == PACKAGED_CONF
    assert settings.conf_folder(at_home) == own
    assert settings.conf_folder({**at_home, "SAFEPLAN_CONF": str(named)}) == named


def test_a_conf_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="which is no folder"):
        settings.conf_folder({"SAFEPLAN_CONF": str(tmp_path / "nowhere")})


def test_home_is_the_named_folder_or_the_working_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert home({}) == tmp_path
    assert home({"SAFEPLAN_HOME": "here"}) == tmp_path / "here"
    assert home({"SAFEPLAN_HOME": "/there"}) == Path("/there")


def test_the_packaged_file_shows_every_setting_with_its_default():
    """It promises so in its first line."""
    written = yaml.safe_load((PACKAGED_CONF / "training.yaml").read_text(encoding="utf-8"))
    for module in DECLARING:
        importlib.import_module(f"training.{module}")
    sections = {kind.section: kind for kind in Settings.__subclasses__() if kind.file == "training"}

    assert set(written) == set(sections)
    for name, kind in sections.items():
        assert set(written[name]) == set(kind.model_fields), name
        assert kind.model_validate(written[name]) == kind(), name
