"""How Alembic runs our migrations: on the connection it is given, in the transaction already open.

To write a new one by hand: add a file to `versions/`, and raise `schema.CURRENT`.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
