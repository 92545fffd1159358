"""Settings: defaults, then the file, then the environment; what cannot be meant says where it stands."""

import importlib
from pathlib import Path

import pytest
import yaml
from pydantic import Field, ValidationError

from training import settings
from training.errors import ConfigurationError
from training.settings import PACKAGED_CONF, Settings, home, load_settings

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


class KettleSettings(Settings, file="kitchen", section="kettle"):
    """How water is boiled."""

    degrees: float = Field(100, gt=0, le=100)
    cups: int = 2
    whistles: bool = True
    notes: tuple[str, ...] = ()


@pytest.fixture
def read_kettle(tmp_path):
    """Write kitchen.yaml and read the kettle's section of it."""

    def read(text=None, **environ):
        if text is not None:
            (tmp_path / "kitchen.yaml").write_text(text, encoding="utf-8")
        return load_settings(KettleSettings, environ=environ, folder=tmp_path)

    return read


def test_without_a_file_the_defaults_hold(read_kettle):
    assert read_kettle() == KettleSettings()


@pytest.mark.parametrize("text", ["", "# nothing yet", "kettle:", "oven: {degrees: 900}"])
def test_a_section_that_is_not_written_leaves_the_defaults(read_kettle, text):
    assert read_kettle(text) == KettleSettings()


def test_the_file_wins_over_the_defaults_and_the_environment_over_the_file(read_kettle):
    result = read_kettle("kettle: {degrees: 80, cups: 3}", SAFEPLAN_KETTLE_CUPS="5")

    assert (result.degrees, result.cups) == (80, 5)


def test_the_environment_may_hold_flags_and_lists(read_kettle):
    result = read_kettle(SAFEPLAN_KETTLE_WHISTLES="false", SAFEPLAN_KETTLE_NOTES="[green, black]")

    assert (result.whistles, result.notes) == (False, ("green", "black"))


def test_an_empty_variable_says_nothing(read_kettle):
    assert read_kettle("kettle: {cups: 3}", SAFEPLAN_KETTLE_CUPS="").cups == 3


def test_an_unknown_key_is_named_with_those_that_are_known(read_kettle):
    with pytest.raises(ConfigurationError, match=r"kettle\.degres.*Known settings of kettle: degrees, cups"):
        read_kettle("kettle: {degres: 80}")


def test_a_value_out_of_bounds_is_named_with_the_file(read_kettle, tmp_path):
    with pytest.raises(ConfigurationError, match=r"kettle\.degrees = 120.*kitchen\.yaml"):
        read_kettle("kettle: {degrees: 120}")


def test_a_wrong_value_of_the_environment_is_named_with_its_variable(read_kettle):
    with pytest.raises(ConfigurationError, match=r"environment SAFEPLAN_KETTLE_CUPS"):
        read_kettle(SAFEPLAN_KETTLE_CUPS="many")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kettle: [", "is not readable YAML"),
        ("- kettle", "must hold sections by name, not a list"),
        ("kettle: hot", "kettle must hold settings by name, not 'hot'"),
        ("kettle: \x00", "is not readable YAML"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused(read_kettle, text, says):
    with pytest.raises(ConfigurationError, match=says):
        read_kettle(text)


def test_a_file_in_another_encoding_is_refused(read_kettle, tmp_path):
    (tmp_path / "kitchen.yaml").write_bytes("kettle: {notes: [thé]}".encode("latin-1"))

    with pytest.raises(ConfigurationError, match="not readable YAML"):
        read_kettle()


def test_a_variable_that_is_no_yaml_is_refused_by_its_name(read_kettle):
    with pytest.raises(ConfigurationError, match="SAFEPLAN_KETTLE_NOTES"):
        read_kettle(SAFEPLAN_KETTLE_NOTES="[green")


def test_a_wrong_part_of_a_list_is_still_the_variables_fault(read_kettle):
    with pytest.raises(ConfigurationError, match=r"kettle\.notes\.1 = .*environment SAFEPLAN_KETTLE_NOTES"):
        read_kettle(SAFEPLAN_KETTLE_NOTES="[green, [black]]")


def test_settings_cannot_be_changed_once_read(read_kettle):
    with pytest.raises(ValidationError):
        read_kettle().cups = 9


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
