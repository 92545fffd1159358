"""A fleet on a cluster of two nodes on this machine, one of which is killed on the way."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.fleet_readings import fleet
from benchmarks.fleet_runs import prepare
from training.kinds import Engine, Kind
from training.outcomes import Outcome, summary
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.workspace import Workspace

OBJECT_STORE = 200 * 2**20  # bytes a node; results are fetched as they come
KILLED_AFTER = 0.25  # of the outcomes


def train_on_two_nodes(home: Path, sensors: int) -> dict[str, Any]:
    """Train, kill one node on the way, and count what the registry holds in the end."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray  # noqa: PLC0415 - an extra that the other parts do without
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    prepare(home, list(fleet(sensors)))
    small: dict[str, Any] = {"num_cpus": 1, "object_store_memory": OBJECT_STORE}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    doomed = cluster.add_node(**small)
    ray.init(address=cluster.address, log_to_driver=False)
    seen: list[Outcome] = []

    def watch(outcome: Outcome) -> None:
        seen.append(outcome)
        if len(seen) == int(2 * sensors * KILLED_AFTER):
            cluster.remove_node(doomed, allow_graceful=False)

    try:
        workspace, begun = Workspace(home), time.monotonic()
        chosen = workspace.fleet.match()
        outcomes = train_fleet(
            workspace, chosen, list(Kind), Plan.from_conf(), engine=Engine.RAY, watch=watch
        )
        wall = time.monotonic() - begun
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
