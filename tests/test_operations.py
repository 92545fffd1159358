"""Files for operators match the program: rules and panels use its metrics, units start its commands."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import safeplan
from serving.http.metrics import Metrics
from tests.support.requirements import skip_or_fail

OPERATE = Path(__file__).parent.parent / "conf" / "operate"
DOCS = Path(__file__).parent.parent / "docs" / "operate.md"
UNITS = sorted((OPERATE / "systemd").glob("*.service"))


@pytest.fixture(scope="module")
def metrics():
    """The names of all metrics of the endpoint."""
    families = [family for family in Metrics().registry.collect() if family.name.startswith("safeplan_")]
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {f"{family.name}{end}" for family in families for end in endings.get(family.type, ("",))}


def rules():
    document = yaml.safe_load((OPERATE / "prometheus-rules.yml").read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def named_in(expression):
    return set(re.findall(r"safeplan_\w+", expression))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_uses_existing_metrics_and_has_a_runbook_entry(rule, metrics):
    assert named_in(rule["expr"]) <= metrics
    assert named_in(rule["expr"]) or rule["expr"].startswith("up{")
    assert f"### {rule['alert']}" in DOCS.read_text(encoding="utf-8")


def test_each_panel_of_the_dashboard_uses_existing_metrics(metrics):
    board = json.loads((OPERATE / "grafana-dashboard.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]

    assert len(asked) > 10
    assert set().union(*map(named_in, asked)) <= metrics


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_an_existing_command(unit):
    (line,) = re.findall(r"^ExecStart=(.+)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    commands = {one.name or one.callback.__name__ for one in safeplan.app.registered_commands}

    assert line.split()[0].endswith("/safeplan")
    assert line.split()[1] in commands


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_understands_a_unit(unit, tmp_path):
    if shutil.which("systemd-analyze") is None:
        skip_or_fail("systemd-analyze is not installed")
    # It also checks that the program exists, which is true only where it is installed.
    text = re.sub(
        r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    (tmp_path / unit.name).write_text(text, encoding="utf-8")

    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / unit.name)], capture_output=True, text=True, check=False
    )

    assert unit.name not in done.stderr
