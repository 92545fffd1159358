"""Aliases of the registry, read by polling: each sensor's champion, and which champions have moved.

MLflow's webhooks refuse private addresses, so moves are noticed by comparing every alias with the version in
memory. What a move leads to is in `champions`; the timer is in `poller`.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from serving.models.serving_state import ServingState
from training.errors import RegistryError
from training.kinds import Kind
from training.registry.model_registry import CHAMPION, Listing, Registry, Version

log = logging.getLogger("safeplan.serving")

ModelKey = tuple[str, Kind]


class AliasPoller:
    """The aliases as last read, and whether the registry answers."""

    def __init__(self, registry: Registry, serving_state: ServingState | None) -> None:
        self.registry = registry
        self.serving_state = serving_state
        self.listings: Mapping[ModelKey, Listing] = {}
        self.unreachable_reason: str | None = None  # the error while the registry cannot be reached
        self.last_contact: datetime | None = None

    def poll(self) -> bool:
        """Read all aliases by one query; returns whether the registry answers again after an outage.

        Raises:
            RegistryError: the registry is unreachable; the aliases stay as last read.
        """
        try:
            self.listings = self.registry.listings()
        except RegistryError as error:
            if self.unreachable_reason is None:
                log.warning("the registry is unreachable: %s", error)
            self.unreachable_reason = str(error)
            raise
        recovered = self.unreachable_reason is not None
        if recovered:
            log.info("the registry is reachable again")
        self.unreachable_reason, self.last_contact = None, datetime.now(UTC)
        return recovered

    def restore(self) -> bool:
        """Take the aliases of the last start; False where none are stored."""
        stored = None if self.serving_state is None else self.serving_state.listings()
        self.listings = stored or {}
        return bool(stored)

    def moved(self, serving: Mapping[ModelKey, Version]) -> list[ModelKey]:
        """The sensors and kinds whose alias names another version than the serving one, or none."""
        champion_uris = self.champion_uris()
        return [key for key, version in serving.items() if champion_uris.get(key) != version.uri]

    def champion_versions(self) -> dict[ModelKey, int]:
        """The champions' version numbers, by sensor and kind."""
        return {
            key: listing.aliases[CHAMPION]
            for key, listing in self.listings.items()
            if CHAMPION in listing.aliases
        }

    def champion_uris(self) -> dict[ModelKey, str]:
        """The champions' URIs, by sensor and kind."""
        return {
            key: f"models:/{self.listings[key].name}/{number}"
            for key, number in self.champion_versions().items()
        }
