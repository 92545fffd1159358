"""Settings: one section of one YAML file, read into a frozen model.

Knows where `conf/` is, that the environment wins over the file, and that an unknown key is an error.
Leaves what a setting means to the module that declares it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from training.errors import ConfigurationError

PACKAGED_CONF = Path(__file__).parent.parent / "conf"


class Settings(BaseModel):
    """One section of `conf/<file>.yaml`; subclasses name both.

    >>> class DriftSettings(Settings, file="monitoring", section="drift"):
    ...     false_alarm_rate: float = 0.01
    >>> load(DriftSettings, environ={"SAFEPLAN_DRIFT_FALSE_ALARM_RATE": "0.05"}, folder=Path("nowhere"))
    DriftSettings(false_alarm_rate=0.05)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: ClassVar[str] = ""
    section: ClassVar[str] = ""

    def __init_subclass__(cls, *, file: str = "", section: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.file = file or cls.file
        cls.section = section or cls.section


S = TypeVar("S", bound=Settings)


def load_settings(
    kind: type[S], *, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> S:
    """Read one section: defaults, then `folder/<file>.yaml`, then `SAFEPLAN_<SECTION>_<FIELD>`.

    Raises:
        ConfigurationError: the file is no mapping, a key is unknown or a value is out of bounds.
    """
    environ = os.environ if environ is None else environ
    path = (conf_folder(environ) if folder is None else folder) / f"{kind.file}.yaml"
    from_file = read_section(path, kind.section)
    overrides = read_environment(kind, environ)
    try:
        return kind.model_validate(from_file | overrides)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, kind, path, overrides)) from error


def home(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of the embedded defaults (`safeplan.db`, `mlflow.db`, `mlartifacts/`)."""
    environ = os.environ if environ is None else environ
    return Path(environ.get("SAFEPLAN_HOME") or Path.cwd()).absolute()


def conf_folder(environ: Mapping[str, str]) -> Path:
    """`SAFEPLAN_CONF`, else `conf/` in the home folder, else the one shipped with the program."""
    if chosen := environ.get("SAFEPLAN_CONF"):
        if not Path(chosen).is_dir():
            raise ConfigurationError(
                f"SAFEPLAN_CONF names {chosen}, which is no folder. Correct or unset it."
            )
        return Path(chosen)
    home_conf = home(environ) / "conf"
    return home_conf if home_conf.is_dir() else PACKAGED_CONF


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping a YAML file holds; empty where the file is missing or empty."""
    if not path.exists():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} is not readable YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must hold sections by name, not a {type(content).__name__}.")
    return content


def read_section(path: Path, section: str) -> dict[str, Any]:
    """One section of a YAML file; empty where it is not written."""
    content = read_yaml(path).get(section)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: {section} must hold settings by name, not {content!r}.")
    return content


def read_environment(kind: type[Settings], environ: Mapping[str, str]) -> dict[str, Any]:
    """The fields of one section that the environment sets, parsed as YAML scalars or lists."""
    prefix = f"SAFEPLAN_{kind.section}_".upper()
    names = {name: f"{prefix}{name.upper()}" for name in kind.model_fields}
    return {name: _parsed(key, environ[key]) for name, key in names.items() if environ.get(key)}


def _parsed(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The value itself may hold a password.
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise ConfigurationError(f"environment {key} is not readable YAML: {problem}.") from error


def _explain(
    error: ValidationError, kind: type[Settings], path: Path, overrides: Mapping[str, object]
) -> str:
    lines = []
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"])
        name = str(problem["loc"][0])
        variable = f"SAFEPLAN_{kind.section}_{name}".upper()
        origin = f"environment {variable}" if name in overrides else str(path)
        lines.append(f"{kind.section}.{field} = {problem['input']!r}: {problem['msg']} ({origin})")
    known = ", ".join(kind.model_fields)
    return "; ".join(lines) + f". Known settings of {kind.section}: {known}."
