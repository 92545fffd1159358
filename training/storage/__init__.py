"""The tables of all three floors and the one way to reach them: schema, migrations, leases, bulk inserts.

Reading order: `database`, `schema`, `columns`, `leases`, `bulk_insert`.
"""
