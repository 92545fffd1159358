"""Servers that are slow or held up: PostgreSQL and MLflow behind wires; commands, endpoint and page go on.

Each command runs as people run it; what it leaves behind is counted straight in the database.
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
from tests.soak import proxy
from tests.soak.proxy import ConnectionMode, TcpProxy
from tests.support.browser import PageReader, chromium
from tests.support.installation import BIN, Installation, free_port, post_json, running_server
from tests.support.workspaces import make_readings

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.xdist_group("town")]

PATIENCE = 2  # seconds that MLflow's client waits for an answer


@dataclass(frozen=True)
class SlowInstallation:
    """A house whose servers are at the other end of two wires."""

    house: Installation
    database: TcpProxy
    mlflow: TcpProxy
    schema: str

    def scores(self) -> list[tuple[str, object]]:
        """The readings of PT-1 that have a score, straight from the database."""
        with psycopg.connect(POSTGRES) as connection:
            connection.execute(f"SET search_path = {self.schema}")  # type: ignore[arg-type]
            query = "SELECT sensor_id, timestamp FROM ml_predictions WHERE anomaly_score IS NOT NULL"
            return connection.execute(query).fetchall()

    @contextmanager
    def held_up(self, wire: TcpProxy, seconds: float) -> Iterator[None]:
        """Nothing passes a wire for so long."""
        wire.set_mode(ConnectionMode.STALLED)
        timer = threading.Timer(seconds, wire.set_mode, [ConnectionMode.WHOLE])
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            wire.set_mode(ConnectionMode.WHOLE)


@pytest.fixture(scope="module")
def slow_installation(
    tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path
) -> Iterator[SlowInstallation]:
    """PT-1 and PT-2 with readings, everything else still to be done; both servers run."""
    home = tmp_path_factory.mktemp("far")
    shutil.copy(empty_mlflow, home / "mlflow.db")
    schema = f"test_{uuid.uuid4().hex}"
    try:
        with psycopg.connect(POSTGRES, autocommit=True, connect_timeout=5) as connection:
            connection.execute(f"CREATE SCHEMA {schema}")  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL at SAFEPLAN_TEST_POSTGRES: {error}")
    there = urlsplit(POSTGRES)
    port = free_port()
    database = TcpProxy((there.hostname or "127.0.0.1", there.port or 5432))
    mlflow = TcpProxy(("127.0.0.1", port))
    address = there._replace(netloc=f"{there.username}@127.0.0.1:{database.port}").geturl()
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
    line = [
        *(str(BIN / "mlflow"), "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"),
        *("--serve-artifacts", "--artifacts-destination", str(home / "artifacts")),
    ]
    environment = installation.environment()
    environment.pop("MLFLOW_TRACKING_URI")
    with running_server(line, environment, home, f"http://127.0.0.1:{port}/health"):
        yield SlowInstallation(installation, database, mlflow, schema)
    for wire in (database, mlflow):
        wire.close()
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f"DROP SCHEMA {schema} CASCADE")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(slow_installation: SlowInstallation) -> SlowInstallation:
    """PT-1 with a detector, made while both wires were slow."""
    slow_installation.house.run(
        "load", slow_installation.house.write("plant.csv", make_readings("PT-1", 400))
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(proxy, "SLOW_SECONDS", 0.02)
        for wire in (slow_installation.database, slow_installation.mlflow):
            wire.set_mode(ConnectionMode.SLOW)
        done = slow_installation.house.run("train", "PT-1", "--kind", "detector", "--jobs", "1")
        slow_installation.house.run("detect", "--since", "2026-01-10")
        for wire in (slow_installation.database, slow_installation.mlflow):
            wire.set_mode(ConnectionMode.WHOLE)
    assert done.of("PT-1", "detector")["status"] == "promoted"
    return slow_installation


def more(far: SlowInstallation, rows: int) -> None:
    """So many more readings of PT-1 come, whatever tests ran before."""
    with psycopg.connect(POSTGRES) as connection:
        connection.execute(f"SET search_path = {far.schema}")  # type: ignore[arg-type]
        query = "SELECT count(*) FROM sensor_readings WHERE sensor_id = 'PT-1'"
        (stored,) = connection.execute(query).fetchone() or (0,)
    far.house.run("load", far.house.write("more.csv", make_readings("PT-1", stored + rows)))


@pytest.mark.fault(
    "a database and an MLflow server that are slow, in train and detect", "slow, and otherwise as ever"
)
def test_slow_servers_cost_time_and_nothing_else(trained, record_losses):
    again = trained.house.run("train", "PT-1", "--kind", "detector", "--jobs", "1")
    trained.house.run("detect", "--since", "2026-01-10")

    result = trained.scores()
    expected = int((make_readings("PT-1", 400)["timestamp"] >= "2026-01-10").sum())
    assert again.of("PT-1", "detector")["version"] == 1
    record_losses(lost=expected - len(set(result)), doubled=len(result) - len(set(result)))


@pytest.mark.fault(
    "a database that is held up in load and detect", "they wait and go on; each score is there once"
)
def test_a_database_that_is_held_up_is_waited_for(trained, record_losses):
    before = len(trained.scores())
    with trained.held_up(trained.database, 2):
        more(trained, 10)
    with trained.held_up(trained.database, 2):
        done = trained.house.run("detect")

    result = trained.scores()
    assert done.of("PT-1", "detector")["status"] == "scored"
    record_losses(lost=before + 10 - len(set(result)), doubled=len(result) - len(set(result)))


@pytest.mark.fault(
    "an MLflow server that is held up in train and detect",
    "one clear line after the time set; then each version and score is there once",
)
def test_an_mlflow_server_that_is_held_up_is_given_up_and_made_up_for(trained, record_losses):
    hasty = {"MLFLOW_HTTP_REQUEST_TIMEOUT": str(PATIENCE)}
    more(trained, 20)
    before = len(trained.scores())
    with trained.held_up(trained.mlflow, 60):
        detected = trained.house.run("detect", expect=1, **hasty)
        trained_not = trained.house.run(
            "train", "PT-1", "--jobs", "1", "--kind", "forecaster", expect=1, **hasty
        )
    for said in (detected, trained_not):
        assert "Traceback" not in said.stderr + said.stdout
        assert "imed out" in said.stderr + said.stdout

    assert trained.house.run("detect").of("PT-1", "detector")["status"] == "scored"
    made = trained.house.run("train", "PT-1", "--jobs", "1", "--kind", "forecaster")
    assert (made.of("PT-1", "forecaster")["status"], made.of("PT-1", "forecaster")["version"]) == (
        "promoted",
        1,
    )
    result = trained.scores()
    record_losses(lost=before + 20 - len(set(result)), doubled=len(result) - len(set(result)))


@pytest.mark.fault(
    "an MLflow server or a database that is held up while endpoint and page are used",
    "the endpoint answers by the champions it has; the page shows what it has, and all of it afterwards",
)
def test_endpoint_and_page_outlive_servers_that_are_held_up(trained):
    ports = free_port(), free_port()
    endpoint, page = (f"http://127.0.0.1:{port}" for port in ports)
    environment, home = trained.house.environment(SAFEPLAN_FOLLOW_EVERY="1"), trained.house.home
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
        reader.open("/?sensor=PT-1", "Needs a human now")

        with trained.held_up(trained.mlflow, 60):
            time.sleep(PATIENCE)  # the endpoint looks for new champions meanwhile
            (scored,) = post_json(f"{endpoint}/invocations", {"dataframe_records": [row]})["predictions"]
            reader.tab("Fleet", "Every sensor")
        assert scored["detector_version"] == "1"

        with trained.held_up(trained.database, 5):
            (again,) = post_json(f"{endpoint}/invocations", {"dataframe_records": [row]})["predictions"]
            reader.tab("Anomaly Detection", "Status now")
        assert again["anomaly_score"] == scored["anomaly_score"]
        reader.tab("Model Status", "Detectors serving")
        reader.page.get_by_role("link", name="pt-1-detector v1").wait_for()
        reader.settle()
        assert reader.errors == []
