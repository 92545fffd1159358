"""Slow and stalled servers: PostgreSQL and MLflow behind proxies; commands, endpoint and dashboard continue.

Commands run in real processes; their results are counted in the database.
"""

import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.conftest import POSTGRES
from tests.soak import proxy as proxy_module
from tests.soak.proxy import ConnectionMode, TcpProxy
from tests.support.browser import PageReader, chromium
from tests.support.installation import BIN, Installation, free_port, post_json, running_server
from tests.support.requirements import skip_or_fail
from tests.support.workspaces import make_readings

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.xdist_group("town")]

TIMEOUT = 2  # seconds that MLflow's client waits for a response


@dataclass(frozen=True)
class SlowInstallation:
    """An installation whose servers are behind two proxies."""

    installation: Installation
    database: TcpProxy
    mlflow: TcpProxy
    schema: str

    def scores(self) -> list[tuple[str, object]]:
        """The readings of PT-1 that have a score, read from the database."""
        with psycopg.connect(POSTGRES) as connection:
            connection.execute(f"SET search_path = {self.schema}")  # type: ignore[arg-type]
            query = "SELECT sensor_id, timestamp FROM ml_predictions WHERE anomaly_score IS NOT NULL"
            return connection.execute(query).fetchall()

    @contextmanager
    def stalled(self, proxy: TcpProxy, seconds: float) -> Iterator[None]:
        """Let nothing pass a proxy for this time."""
        proxy.set_mode(ConnectionMode.STALLED)
        timer = threading.Timer(seconds, proxy.set_mode, [ConnectionMode.WHOLE])
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            proxy.set_mode(ConnectionMode.WHOLE)


@pytest.fixture(scope="module")
def slow_installation(
    tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path
) -> Iterator[SlowInstallation]:
    """An empty installation with both servers running."""
    home = tmp_path_factory.mktemp("slow")
    shutil.copy(empty_mlflow, home / "mlflow.db")
    schema = f"test_{uuid.uuid4().hex}"
    try:
        with psycopg.connect(POSTGRES, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"CREATE SCHEMA {schema}")  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        skip_or_fail(f"no PostgreSQL at SAFEPLAN_TEST_POSTGRES: {error}")
    server = urlsplit(POSTGRES)
    port = free_port()
    database = TcpProxy((server.hostname or "127.0.0.1", server.port or 5432))
    mlflow = TcpProxy(("127.0.0.1", port))
    address = server._replace(netloc=f"{server.username}@127.0.0.1:{database.port}").geturl()
    installation = Installation(
        home,
        {
            "SAFEPLAN_DATABASE_URL": f"{address}?options=-csearch_path%3D{schema}",
            "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow.port}",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "SAFEPLAN_TUNING_TRIALS": "2",
            "SAFEPLAN_GATE_MIN_SKILL": "-9",
            "SAFEPLAN_GATE_MIN_COVERAGE": "0",
            "SAFEPLAN_PAGE_REFRESH": "1",
        },
    )
    command = [
        *(str(BIN / "mlflow"), "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"),
        *("--serve-artifacts", "--artifacts-destination", str(home / "artifacts")),
    ]
    environment = installation.environment()
    environment.pop("MLFLOW_TRACKING_URI")
    with running_server(command, environment, home, f"http://127.0.0.1:{port}/health"):
        yield SlowInstallation(installation, database, mlflow, schema)
    for proxy in (database, mlflow):
        proxy.close()
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(slow_installation: SlowInstallation) -> SlowInstallation:
    """PT-1 with a detector, trained while both servers were slow."""
    slow_installation.installation.run(
        "load", slow_installation.installation.write("plant.csv", make_readings("PT-1", 400))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proxy_module, "SLOW_SECONDS", 0.02)
        for proxy in (slow_installation.database, slow_installation.mlflow):
            proxy.set_mode(ConnectionMode.SLOW)
        result = slow_installation.installation.run("train", "PT-1", "--kind", "detector", "--jobs", "1")
        slow_installation.installation.run("detect", "--since", "2026-01-10")
        for proxy in (slow_installation.database, slow_installation.mlflow):
            proxy.set_mode(ConnectionMode.WHOLE)
    assert result.of("PT-1", "detector")["status"] == "promoted"
    return slow_installation


def load_more(slow: SlowInstallation, rows: int) -> None:
    """Load this many more readings of PT-1, after those that are stored."""
    with psycopg.connect(POSTGRES) as connection:
        connection.execute(f"SET search_path = {slow.schema}")  # type: ignore[arg-type]
        query = "SELECT count(*) FROM sensor_readings WHERE sensor_id = 'PT-1'"
        (stored,) = connection.execute(query).fetchone() or (0,)
    slow.installation.run("load", slow.installation.write("more.csv", make_readings("PT-1", stored + rows)))


@pytest.mark.fault(
    "a slow database and MLflow server during train and detect", "slower, but the same results"
)
def test_slow_servers_give_the_same_results(trained, record_losses):
    again = trained.installation.run("train", "PT-1", "--kind", "detector", "--jobs", "1")
    trained.installation.run("detect", "--since", "2026-01-10")

    result = trained.scores()
    expected = int((make_readings("PT-1", 400)["timestamp"] >= "2026-01-10").sum())
    assert again.of("PT-1", "detector")["version"] == 1
    record_losses(lost=expected - len(set(result)), doubled=len(result) - len(set(result)))


@pytest.mark.fault(
    "a stalled database during load and detect", "they wait and continue; each score is stored once"
)
def test_a_stalled_database_is_waited_for(trained, record_losses):
    before = len(trained.scores())
    with trained.stalled(trained.database, 2):
        load_more(trained, 10)
    with trained.stalled(trained.database, 2):
        detected = trained.installation.run("detect")

    result = trained.scores()
    assert detected.of("PT-1", "detector")["status"] == "scored"
    record_losses(lost=before + 10 - len(set(result)), doubled=len(result) - len(set(result)))


@pytest.mark.fault(
    "a stalled MLflow server during train and detect",
    "one clear line after the timeout; afterwards each version and score is stored once",
)
def test_after_a_stalled_mlflow_server_the_next_run_catches_up(trained, record_losses):
    short_timeout = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(TIMEOUT)}
    load_more(trained, 20)
    before = len(trained.scores())
    with trained.stalled(trained.mlflow, 60):
        detected = trained.installation.run("detect", expect=1, **short_timeout)
        not_trained = trained.installation.run(
            "train", "PT-1", "--jobs", "1", "--kind", "forecaster", expect=1, **short_timeout
        )
    for result in (detected, not_trained):
        assert "Traceback" not in result.stderr + result.stdout
        assert "imed out" in result.stderr + result.stdout

    assert trained.installation.run("detect").of("PT-1", "detector")["status"] == "scored"
    outcome = trained.installation.run("train", "PT-1", "--jobs", "1", "--kind", "forecaster").of(
        "PT-1", "forecaster"
    )
    assert (outcome["status"], outcome["version"]) == ("promoted", 1)
    result = trained.scores()
    record_losses(lost=before + 20 - len(set(result)), doubled=len(result) - len(set(result)))


@pytest.mark.fault(
    "a stalled MLflow server or database while endpoint and dashboard are used",
    "both continue with what they have, and show everything afterwards",
)
def test_endpoint_and_dashboard_survive_stalled_servers(trained):
    ports = free_port(), free_port()
    endpoint, page = (f"http://127.0.0.1:{port}" for port in ports)
    environment, home = trained.installation.environment(SAFEPLAN_FOLLOW_EVERY="1"), trained.installation.home
    row = {"sensor_id": "PT-1", "timestamp": "2026-02-01T00:00:00Z", "value": 20.0}
    with ExitStack() as stack:
        start = stack.enter_context
        safeplan = str(BIN / "safeplan")
        start(
            running_server(
                [safeplan, "serve", "--port", str(ports[0])], environment, home, f"{endpoint}/ready"
            )
        )
        start(running_server([safeplan, "dashboard", "--port", str(ports[1])], environment, home, page))
        reader = PageReader(start(chromium()).new_page(), page)
        reader.open("/?sensor=PT-1", "Action required")

        with trained.stalled(trained.mlflow, 60):
            time.sleep(TIMEOUT)  # the endpoint checks for new champions meanwhile
            (scored,) = post_json(f"{endpoint}/invocations", {"dataframe_records": [row]})["predictions"]
            reader.tab("Overview", "All sensors")
        assert scored["detector_version"] == "1"

        with trained.stalled(trained.database, 5):
            (again,) = post_json(f"{endpoint}/invocations", {"dataframe_records": [row]})["predictions"]
            reader.tab("Anomaly Detection", "Current status")
        assert again["anomaly_score"] == scored["anomaly_score"]
        reader.tab("Model Status", "Detectors serving")
        reader.page.get_by_role("link", name="pt-1-detector v1").wait_for()
        reader.settle()
        assert reader.errors == []


@pytest.mark.fault(
    "a dashboard that is opened while its database is unreachable",
    "it shows the error, and everything without a reload once the database is back",
)
def test_a_dashboard_opened_without_a_database_recovers_by_itself(trained):
    port = free_port()
    command, page = [str(BIN / "safeplan"), "dashboard", "--port", str(port)], f"http://127.0.0.1:{port}"
    trained.database.set_mode(ConnectionMode.CUT)
    try:
        with (
            running_server(command, trained.installation.environment(), trained.installation.home, page),
            chromium() as browser,
        ):
            reader = PageReader(browser.new_page(), page)
            reader.open("/?sensor=PT-1", "This part is retried automatically.")
            trained.database.set_mode(ConnectionMode.WHOLE)
            reader.wait_for_text("All sensors")
            assert reader.errors == []
    finally:
        trained.database.set_mode(ConnectionMode.WHOLE)
