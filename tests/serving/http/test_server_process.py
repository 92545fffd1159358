"""`safeplan serve` as processes: several workers, a token, and a signal that ends them."""

import json
import signal
import subprocess
import urllib.request

import pytest

from tests.support.installation import BIN, Installation, _wait_for, free_port

pytestmark = pytest.mark.slow

SECRET = "correct-horse-battery-staple"
ROW = {"sensor_id": "PT-1", "timestamp": "2026-01-09T08:00:00Z", "value": 20.0}
ASKED = 40


def ask(url, path, body=None):
    headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
    request = urllib.request.Request(url + path, None if body is None else json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def test_two_workers_combine_their_metrics_and_end_on_a_signal(trained_workspace, tmp_path):
    tokens, port, log = tmp_path / "tokens", free_port(), tmp_path / "log"
    tokens.write_text(SECRET)
    tokens.chmod(0o600)
    installation = Installation(
        trained_workspace.home, {"MLFLOW_TRACKING_URI": f"sqlite:///{trained_workspace.home / 'mlflow.db'}"}
    )
    line = [str(BIN / "safeplan"), "serve", "--workers", "2", "--port", str(port), "--tokens", str(tokens)]
    with log.open("w") as out:
        process = subprocess.Popen(
            line,
            env=installation.environment(),
            cwd=trained_workspace.home,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/ready", process, log)
        for _ in range(ASKED):
            [row] = json.loads(ask(url, "/invocations", {"dataframe_records": [ROW]}))["predictions"]
            assert row["error"] is None
        reported = ask(url, "/metrics").splitlines()
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)

    assert f'safeplan_requests_total{{path="/invocations",status="200"}} {float(ASKED)}' in reported
    assert code in (0, -signal.SIGTERM)
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    messages = [line["said"] for line in lines if line.get("path") == "/invocations"]  # quoted
    assert messages == ["request"] * ASKED
    assert SECRET not in log.read_text()
