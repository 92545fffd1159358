"""MLflow: runs, registered versions, aliases, what is published with a run, and the audit log.

Reading order: `model_registry`, `tracking`, `publishing`, `packaging`, `registry_snapshot`, `audit`.
"""
