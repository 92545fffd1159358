"""The history of the schema, run by Alembic from `training.storage.schema`.

A new step is a file in `versions/`, written by hand; `schema.CURRENT_REVISION` names the newest.
"""
