from sqlalchemy import inspect

from training.schema import version


def test_a(engine):
    with engine.connect() as c:
        assert version(c) == "0001"
        print(inspect(c).get_table_names())
