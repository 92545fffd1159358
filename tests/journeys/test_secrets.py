"""Secrets are found in no output, log, table, run, model or backup."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from tests.support.installation import BIN, CommandResult, Installation, free_port, running_server
from tests.support.workspaces import make_readings

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

MLFLOW_PASSWORD = "a long password"  # the one of `server_installation`
SECRETS = {
    "database": "db-5ecret-word",
    "mlflow": MLFLOW_PASSWORD,
    "token": "tok-5ecret-of-the-control-room",
    "channel": "chan-5ecret-word",
    "guess": "tok-that-somebody-guessed",
}


def stored_contents(installation: Installation, server: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that was stored, by name: files, members of archives, and tables."""
    secret_files = {installation.home / "tokens", server / "auth.ini"}
    for path in sorted([*installation.home.rglob("*"), *server.rglob("*")]):
        if path.is_file() and path not in secret_files:
            yield str(path), path.read_bytes()
            if zipfile.is_zipfile(path):
                yield from unpacked(str(path), path.read_bytes())
    engine = create_engine(
        installation.settings["SAFEPLAN_DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:")
    )
    schema = re.search(r"search_path%3D(\w+)", installation.settings["SAFEPLAN_DATABASE_URL"])
    assert schema
    with engine.connect() as connection:
        for table in inspect(engine).get_table_names(schema=schema[1]):
            rows = connection.execute(text(f'SELECT t::text FROM "{table}" t')).scalars()
            yield f"table {table}", "\n".join(rows).encode()
    engine.dispose()


def unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """The members of an archive, and of archives in it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for member in archive.namelist():
            inner = archive.read(member)
            yield f"{name}:{member}", inner
            if inner.startswith(b"PK"):
                yield from unpacked(f"{name}:{member}", inner)


@pytest.fixture
def secret_installation(server_installation: Installation) -> Installation:
    """An installation whose database, MLflow, channels and endpoint all have secrets."""
    address = make_url(server_installation.settings["SAFEPLAN_DATABASE_URL"]).set(
        password=SECRETS["database"]
    )
    tokens = server_installation.home / "tokens"
    tokens.write_text(f"room:promote:{SECRETS['token']}\n", encoding="utf-8")
    tokens.chmod(0o600)
    return Installation(
        server_installation.home,
        {
            **server_installation.settings,
            "SAFEPLAN_DATABASE_URL": address.render_as_string(hide_password=False),
            "SAFEPLAN_SERVER_TOKENS": str(tokens),
            "SAFEPLAN_CHANNEL_ROOM": f"json://operator:{SECRETS['channel']}@127.0.0.1:1/",
        },
    )


def request_endpoint(installation: Installation) -> list[str]:
    """The responses to the right token, to a guess, and to a guess in the URL and a header."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(BIN / "safeplan"), "serve", "--port", str(port)]
    body = {"dataframe_records": [{"sensor_id": "PT-1", "timestamp": None, "value": 1.0}]}
    with (
        running_server(command, installation.environment(), installation.home, f"{url}/ping"),
        httpx.Client(base_url=url) as client,
    ):
        responses = [
            client.post("/invocations", json=body, headers={"Authorization": f"Bearer {token}"})
            for token in (SECRETS["token"], SECRETS["guess"])
        ]
        responses.append(client.get(f"/models?token={SECRETS['guess']}", headers={"X-Key": SECRETS["guess"]}))
        responses.append(client.get("/metrics", headers={"Authorization": f"Bearer {SECRETS['token']}"}))
    assert [response.status_code for response in responses] == [200, 401, 401, 200]
    return [response.text + str(response.headers) for response in responses]


def cause_errors(installation: Installation) -> list[CommandResult]:
    """Run commands whose database, MLflow or password is missing: errors that people copy to mails."""
    unreachable = make_url(installation.settings["SAFEPLAN_DATABASE_URL"]).set(port=1)
    broken = [
        (1, {"SAFEPLAN_DATABASE_URL": unreachable.render_as_string(hide_password=False)}),
        (2, {"SAFEPLAN_DATABASE_URL": f"nosuch://user:{SECRETS['database']}@host/db"}),
        (1, {"MLFLOW_TRACKING_URI": f"http://admin:{SECRETS['guess']}@127.0.0.1:1"}),
        (1, {"MLFLOW_TRACKING_PASSWORD": SECRETS["guess"]}),
    ]
    return [installation.run("status", expect=code, **settings) for code, settings in broken]


@pytest.mark.attack("reading secrets from outputs, logs, tables, runs, models and backups", "none is found")
def test_no_secret_is_found_in_anything_printed_or_stored(secret_installation, tmp_path):
    results = [
        secret_installation.run("load", secret_installation.write("plant.csv", make_readings("PT-1", 100))),
        secret_installation.run("train", "--jobs", "1", SAFEPLAN_TUNING_TRIALS="1"),
        secret_installation.run("detect"),
        secret_installation.run("forecast"),
        secret_installation.run("schedule", "--once", "detect"),
        secret_installation.run("doctor"),
        *cause_errors(secret_installation),
        secret_installation.run("backup", str(secret_installation.home / "all.zip")),
        secret_installation.run("audit"),
    ]
    responses = request_endpoint(secret_installation)

    contents = dict(stored_contents(secret_installation, tmp_path / "server"))
    contents |= {
        f"command {number}": (result.stdout + result.stderr).encode() for number, result in enumerate(results)
    }
    contents |= {f"response {number}": response.encode() for number, response in enumerate(responses)}

    assert len(contents) > 100
    assert any("readings" in name or "sensor_readings" in name for name in contents)
    leaks = {
        (secret, name)
        for secret, word in SECRETS.items()
        for name, content in contents.items()
        if word.encode() in content
    }
    assert leaks == set()
