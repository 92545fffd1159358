"""Secrets stay where they were put: not one letter of them in what is said, kept, logged or backed up."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from tests.journeys.house import BIN, Answer, House, free_port, served
from tests.plant import readings

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

MLFLOW_PASSWORD = "a long password"  # the one of `served_house`
SECRETS = {
    "database": "db-5ecret-word",
    "mlflow": MLFLOW_PASSWORD,
    "token": "tok-5ecret-of-the-control-room",
    "channel": "chan-5ecret-word",
    "guess": "tok-that-somebody-guessed",
}


def hiding_places(house: House, server: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that was left behind, by name: files, what is packed in files, and every table."""
    given = {house.home / "tokens", server / "auth.ini"}
    for path in sorted([*house.home.rglob("*"), *server.rglob("*")]):
        if path.is_file() and path not in given:
            yield str(path), path.read_bytes()
            if zipfile.is_zipfile(path):
                yield from unpacked(str(path), path.read_bytes())
    engine = create_engine(
        house.settings["SAFEPLAN_DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:")
    )
    schema = re.search(r"search_path%3D(\w+)", house.settings["SAFEPLAN_DATABASE_URL"])
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
            found = archive.read(member)
            yield f"{name}:{member}", found
            if found.startswith(b"PK"):
                yield from unpacked(f"{name}:{member}", found)


@pytest.fixture
def secretive(served_house: House) -> House:
    """The house whose database, MLflow, channels and endpoint all have secrets."""
    address = make_url(served_house.settings["SAFEPLAN_DATABASE_URL"]).set(password=SECRETS["database"])
    tokens = served_house.home / "tokens"
    tokens.write_text(f"room:promote:{SECRETS['token']}\n", encoding="utf-8")
    tokens.chmod(0o600)
    return House(
        served_house.home,
        {
            **served_house.settings,
            "SAFEPLAN_DATABASE_URL": address.render_as_string(hide_password=False),
            "SAFEPLAN_SERVER_TOKENS": str(tokens),
            "SAFEPLAN_CHANNEL_ROOM": f"json://operator:{SECRETS['channel']}@127.0.0.1:1/",
        },
    )


def ask_the_endpoint(house: House) -> list[str]:
    """What it answers to the right token, to a guess, and to a guess in the address and a header."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    line = [str(BIN / "safeplan"), "serve", "--port", str(port)]
    body = {"dataframe_records": [{"sensor_id": "PT-1", "timestamp": None, "value": 1.0}]}
    with served(line, house.environment(), house.home, f"{url}/ping"), httpx.Client(base_url=url) as client:
        answers = [
            client.post("/invocations", json=body, headers={"Authorization": f"Bearer {token}"})
            for token in (SECRETS["token"], SECRETS["guess"])
        ]
        answers.append(client.get(f"/models?token={SECRETS['guess']}", headers={"X-Key": SECRETS["guess"]}))
        answers.append(client.get("/metrics", headers={"Authorization": f"Bearer {SECRETS['token']}"}))
    assert [answer.status_code for answer in answers] == [200, 401, 401, 200]
    return [answer.text + str(answer.headers) for answer in answers]


def go_wrong(house: House) -> list[Answer]:
    """Commands whose database, MLflow or password are not there: what an operator pastes into a mail."""
    away = make_url(house.settings["SAFEPLAN_DATABASE_URL"]).set(port=1)
    broken = [
        (1, {"SAFEPLAN_DATABASE_URL": away.render_as_string(hide_password=False)}),
        (2, {"SAFEPLAN_DATABASE_URL": f"nosuch://user:{SECRETS['database']}@host/db"}),
        (1, {"MLFLOW_TRACKING_URI": f"http://admin:{SECRETS['guess']}@127.0.0.1:1"}),
        (1, {"MLFLOW_TRACKING_PASSWORD": SECRETS["guess"]}),
    ]
    return [house.run("status", expect=code, **settings) for code, settings in broken]


@pytest.mark.attack(
    "reading secrets from outputs, logs, tables, runs, models and back-ups", "not a letter of them"
)
def test_no_secret_is_found_in_anything_that_is_said_or_kept(secretive, tmp_path):
    said = [
        secretive.run("load", secretive.write("plant.csv", readings("PT-1", 100))),
        secretive.run("train", "--jobs", "1", SAFEPLAN_TUNING_TRIALS="1"),
        secretive.run("detect"),
        secretive.run("forecast"),
        secretive.run("schedule", "--once", "detect"),
        secretive.run("doctor"),
        *go_wrong(secretive),
        secretive.run("backup", str(secretive.home / "all.zip")),
        secretive.run("audit"),
    ]
    answered = ask_the_endpoint(secretive)

    places = dict(hiding_places(secretive, tmp_path / "server"))
    places |= {f"answer {place}": (one.stdout + one.stderr).encode() for place, one in enumerate(said)}
    places |= {f"response {place}": one.encode() for place, one in enumerate(answered)}

    assert len(places) > 100
    assert any("readings" in name or "sensor_readings" in name for name in places)
    found = {
        (secret, name)
        for secret, word in SECRETS.items()
        for name, content in places.items()
        if word.encode() in content
    }
    assert found == set()
