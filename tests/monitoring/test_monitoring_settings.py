"""The packaged conf/monitoring.yaml lists exactly the settings that the program reads."""

import importlib
import pkgutil

import yaml

import monitoring
from training.settings import PACKAGED_CONF, Settings


def test_the_packaged_file_shows_every_setting_with_its_default():
    """Its first line states that."""
    written = yaml.safe_load((PACKAGED_CONF / "monitoring.yaml").read_text(encoding="utf-8"))
    for module in pkgutil.walk_packages(monitoring.__path__, "monitoring."):
        importlib.import_module(module.name)
    sections = {k.section: k for k in Settings.__subclasses__() if k.__module__.startswith("monitoring.")}

    assert set(written) == set(sections)
    for name, kind in sections.items():
        assert set(written[name]) == set(kind.model_fields), name
        assert kind.model_validate(written[name]) == kind(), name
