"""Read settings: one section of one YAML file per class, overridden by the environment.

An unknown key is an error. What a setting means is defined in the module that declares it. Why this is not
pydantic-settings: `docs/decisions/0004-own-settings-reader.md`.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    >>> environ = {"SAFEPLAN_DRIFT_FALSE_ALARM_RATE": "0.05"}
    >>> load_settings(DriftSettings, environ=environ, folder=Path("nowhere"))
    DriftSettings(false_alarm_rate=0.05)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: ClassVar[str] = ""
    section: ClassVar[str] = ""
    former_section: ClassVar[str] = ""  # still read, with a deprecation warning
    former_names: ClassVar[Mapping[str, str]] = {}  # field by former name, which is still read too

    def __init_subclass__(
        cls,
        *,
        file: str = "",
        section: str = "",
        former_section: str = "",
        former_names: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init_subclass__(**kwargs)
        cls.file = file or cls.file
        cls.section = section or cls.section
        cls.former_section = former_section or cls.former_section
        cls.former_names = former_names or cls.former_names


log = logging.getLogger("safeplan.settings")

S = TypeVar("S", bound=Settings)


def load_settings(
    kind: type[S], *, environ: Mapping[str, str] | None = None, folder: Path | None = None
) -> S:
    """Read one section: defaults, then `folder/<file>.yaml`, then `SAFEPLAN_<SECTION>_<FIELD>`.

    Raises:
        ConfigurationError: the file is not a mapping, a key is unknown or a value is out of range.
    """
    environ = os.environ if environ is None else environ
    path = (conf_folder(environ) if folder is None else folder) / f"{kind.file}.yaml"
    from_file = _read_file(kind, path)
    overrides = read_environment(kind, environ)
    try:
        return kind.model_validate(from_file | overrides)
    except ValidationError as error:
        raise ConfigurationError(_explain(error, kind, path, overrides)) from error


def home(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of `safeplan.db`, `mlflow.db` and `mlartifacts/`; the working folder if not set."""
    environ = os.environ if environ is None else environ
    return Path(environ.get("SAFEPLAN_HOME") or Path.cwd()).absolute()


def conf_folder(environ: Mapping[str, str]) -> Path:
    """`SAFEPLAN_CONF`, else `conf/` in the home folder, else the folder that is part of the program."""
    if chosen := environ.get("SAFEPLAN_CONF"):
        if not Path(chosen).is_dir():
            raise ConfigurationError(
                f"SAFEPLAN_CONF is {chosen}, which is not a folder. Correct or unset it."
            )
        return Path(chosen)
    home_conf = home(environ) / "conf"
    return home_conf if home_conf.is_dir() else PACKAGED_CONF


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; empty if the file is missing or empty."""
    if not path.exists():
        return {}
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigurationError(f"{path} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} must contain sections by name, not a {type(content).__name__}.")
    return content


def read_section(path: Path, section: str) -> dict[str, Any]:
    """One section of a YAML file; empty if it is not there."""
    content = read_yaml(path).get(section)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path}: {section} must contain settings by name, not {content!r}.")
    return content


def read_environment(kind: type[Settings], environ: Mapping[str, str]) -> dict[str, Any]:
    """The fields of one section that the environment sets, parsed as YAML."""
    values: dict[str, Any] = {}
    for section, name, field in _spellings(kind):
        variable = f"SAFEPLAN_{section}_{name}".upper()
        if environ.get(variable):
            values[field] = _parsed(variable, environ[variable])
            if (section, name) != (kind.section, field):
                log_deprecated(f"environment {variable}", f"SAFEPLAN_{kind.section}_{field}".upper())
    return values


@contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while the block runs, for code and processes that read them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def log_deprecated(former: str, current: str) -> None:
    """Warn that a former name was used, and which name replaces it."""
    log.warning("%s is deprecated and will be removed in a later version; use %s", former, current)


def _read_file(kind: type[Settings], path: Path) -> dict[str, Any]:
    """The section of the file, with former names replaced; a current name overrides a former one."""
    content: dict[str, Any] = {}
    for section in filter(None, (kind.former_section, kind.section)):
        written = read_section(path, section)
        if written and section == kind.former_section:
            log_deprecated(f"{path}: section {section}", kind.section)
        current = {name: value for name, value in written.items() if name not in kind.former_names}
        former = {name: value for name, value in written.items() if name in kind.former_names}
        for name, value in former.items():
            log_deprecated(f"{path}: {section}.{name}", f"{kind.section}.{kind.former_names[name]}")
            content[kind.former_names[name]] = value
        content |= current
    return content


def _spellings(kind: type[Settings]) -> list[tuple[str, str, str]]:
    """Section, name and field of every accepted spelling, the current ones last."""
    names = [*kind.former_names.items(), *((name, name) for name in kind.model_fields)]
    sections = filter(None, (kind.former_section, kind.section))
    return [(section, name, field) for section in sections for name, field in names]


def _parsed(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        # Without the value, which may contain a password.
        problem = getattr(error, "problem", None) or "cannot be parsed"
        raise ConfigurationError(f"environment {key} is not valid YAML: {problem}.") from error


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
