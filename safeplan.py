"""SafePlan ML."""


def main() -> None:
    """Run."""
