"""MLflow: runs, registered versions and aliases, the content of a run, and the audit log.

Reading order: `model_registry`, `version_files`, `tracking`, `publishing`, `packaging`, `registry_snapshot`,
`audit`. Interfaces of MLflow that are not public are used in `mlflow_adapter` only.
"""
