"""The readings store: every value a sensor sent, once.

Knows sensors, time and SQL. Knows nothing of models; they ask for windows.
"""

from sqlalchemy import Engine


class ReadingStore:
    """The readings of all sensors."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
