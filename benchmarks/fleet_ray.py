"""A fleet on a cluster of two nodes on this machine, one of which is killed during the training."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.fleet_readings import make_fleet
from benchmarks.fleet_runs import prepare_home
from training.kinds import Engine, Kind
from training.outcomes import Outcome, summary
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.workspace import Workspace

OBJECT_STORE_BYTES = 200 * 2**20  # bytes a node; results are fetched as they come
KILL_SHARE = 0.25  # of the outcomes


def train_on_two_nodes(home: Path, sensors: int) -> dict[str, Any]:
    """Train, kill one node, and count what the registry holds in the end."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray  # noqa: PLC0415 - an extra that the other parts do without
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    prepare_home(home, list(make_fleet(sensors)))
    node_options: dict[str, Any] = {"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args={**node_options, "include_dashboard": False})
    killed_node = cluster.add_node(**node_options)
    ray.init(address=cluster.address, log_to_driver=False)
    finished: list[Outcome] = []

    def watch(outcome: Outcome) -> None:
        finished.append(outcome)
        if len(finished) == int(2 * sensors * KILL_SHARE):
            cluster.remove_node(killed_node, allow_graceful=False)

    try:
        workspace, started = Workspace(home), time.monotonic()
        selected = workspace.fleet.match()
        outcomes = train_fleet(
            workspace, selected, list(Kind), Plan.from_conf(), engine=Engine.RAY, watch=watch
        )
        wall = time.monotonic() - started
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]
    names = [listing.name for listing in workspace.registry.listings().values()]
    versions = Counter(version.name for version in workspace.registry.versions_in(names))
    return {
        "sensors": sensors,
        "wall_s": round(wall, 1),
        "nodes_killed": 1,
        "ended": ", ".join(f"{count} {status}" for status, count in summary(outcomes).items()),
        "models": len(names),
        "registered_once": sum(count == 1 for count in versions.values()),
        "registered_more": sum(count > 1 for count in versions.values()),
    }
