"""The history of the schema, run by Alembic from `training.schema`."""
