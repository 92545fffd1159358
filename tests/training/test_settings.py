"""Settings: defaults, then the file, then the environment; an error names the value and its source."""

import importlib
from pathlib import Path

import pytest
import yaml
from pydantic import Field, ValidationError

from tests.support.installation import ROOT
from training import settings
from training.errors import ConfigurationError
from training.settings import PACKAGED_CONF, Settings, home, load_settings


class KettleSettings(Settings, file="kitchen", section="kettle"):
    """An example of a section."""

    degrees: float = Field(100, gt=0, le=100)
    cups: int = 2
    whistles: bool = True
    notes: tuple[str, ...] = ()


@pytest.fixture
def read_kettle(tmp_path):
    """A function that writes kitchen.yaml and reads its section kettle."""

    def read(text=None, **environ):
        if text is not None:
            (tmp_path / "kitchen.yaml").write_text(text, encoding="utf-8")
        return load_settings(KettleSettings, environ=environ, folder=tmp_path)

    return read


def test_without_a_file_the_defaults_apply(read_kettle):
    assert read_kettle() == KettleSettings()


@pytest.mark.parametrize("text", ["", "# empty", "kettle:", "oven: {degrees: 900}"])
def test_without_the_section_the_defaults_apply(read_kettle, text):
    assert read_kettle(text) == KettleSettings()


def test_the_environment_overrides_the_file_and_the_file_the_defaults(read_kettle):
    result = read_kettle("kettle: {degrees: 80, cups: 3}", SAFEPLAN_KETTLE_CUPS="5")

    assert (result.degrees, result.cups) == (80, 5)


def test_a_variable_can_contain_a_flag_or_a_list(read_kettle):
    result = read_kettle(SAFEPLAN_KETTLE_WHISTLES="false", SAFEPLAN_KETTLE_NOTES="[green, black]")

    assert (result.whistles, result.notes) == (False, ("green", "black"))


def test_an_empty_variable_is_ignored(read_kettle):
    assert read_kettle("kettle: {cups: 3}", SAFEPLAN_KETTLE_CUPS="").cups == 3


def test_an_unknown_key_is_named_with_the_known_ones(read_kettle):
    with pytest.raises(ConfigurationError, match=r"kettle\.degres.*Known settings of kettle: degrees, cups"):
        read_kettle("kettle: {degres: 80}")


def test_a_value_out_of_range_is_named_with_the_file(read_kettle, tmp_path):
    with pytest.raises(ConfigurationError, match=r"kettle\.degrees = 120.*kitchen\.yaml"):
        read_kettle("kettle: {degrees: 120}")


def test_a_wrong_value_of_the_environment_is_named_with_its_variable(read_kettle):
    with pytest.raises(ConfigurationError, match=r"environment SAFEPLAN_KETTLE_CUPS"):
        read_kettle(SAFEPLAN_KETTLE_CUPS="many")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kettle: [", "is not valid YAML"),
        ("- kettle", "must contain sections by name, not a list"),
        ("kettle: hot", "kettle must contain settings by name, not 'hot'"),
        ("kettle: \x00", "is not valid YAML"),
    ],
)
def test_a_file_without_settings_is_refused(read_kettle, text, message):
    with pytest.raises(ConfigurationError, match=message):
        read_kettle(text)


def test_a_file_in_another_encoding_is_refused(read_kettle, tmp_path):
    (tmp_path / "kitchen.yaml").write_bytes("kettle: {notes: [thé]}".encode("latin-1"))

    with pytest.raises(ConfigurationError, match="not valid YAML"):
        read_kettle()


def test_a_variable_that_is_not_yaml_is_named_without_its_value(read_kettle):
    with pytest.raises(ConfigurationError, match="SAFEPLAN_KETTLE_NOTES") as info:
        read_kettle(SAFEPLAN_KETTLE_NOTES="[s3cret")

    assert "s3cret" not in str(info.value)


def test_a_wrong_item_of_a_list_is_named_with_its_variable(read_kettle):
    with pytest.raises(ConfigurationError, match=r"kettle\.notes\.1 = .*environment SAFEPLAN_KETTLE_NOTES"):
        read_kettle(SAFEPLAN_KETTLE_NOTES="[green, [black]]")


def test_settings_are_frozen(read_kettle):
    with pytest.raises(ValidationError):
        read_kettle().cups = 9


def test_the_conf_folder_is_the_named_one_else_that_of_home_else_the_packaged_one(tmp_path):
    own, named = tmp_path / "conf", tmp_path / "named"
    at_home = {"SAFEPLAN_HOME": str(tmp_path)}

    before = settings.conf_folder(at_home)
    own.mkdir()
    named.mkdir()

    assert before == PACKAGED_CONF
    assert settings.conf_folder(at_home) == own
    assert settings.conf_folder({**at_home, "SAFEPLAN_CONF": str(named)}) == named


def test_a_conf_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="which is not a folder"):
        settings.conf_folder({"SAFEPLAN_CONF": str(tmp_path / "nowhere")})


def test_home_is_the_named_folder_else_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert home({}) == tmp_path
    assert home({"SAFEPLAN_HOME": "here"}) == tmp_path / "here"
    assert home({"SAFEPLAN_HOME": "/there"}) == Path("/there")


@pytest.mark.parametrize("file", ["training", "serving", "monitoring"])
def test_a_packaged_file_shows_every_setting_with_its_default(file):
    """Its first lines promise this."""
    import_declaring_modules(file)
    sections = {
        kind.section: kind
        for kind in subclasses(Settings)
        if kind.file == file and kind.__module__.startswith(f"{file}.")
    }
    written = yaml.safe_load((PACKAGED_CONF / f"{file}.yaml").read_text(encoding="utf-8"))

    assert set(written) == set(sections)
    for name, kind in sections.items():
        assert set(written[name]) == set(kind.model_fields), name
        assert kind.model_validate(written[name]) == kind(), name


def import_declaring_modules(file):
    """Import every module that declares a section of this file."""
    for path in sorted((ROOT / file).rglob("*.py")):
        if f'file="{file}"' in path.read_text(encoding="utf-8"):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def subclasses(kind):
    return {one for child in kind.__subclasses__() for one in {child, *subclasses(child)}}
