"""The tables of all three floors, and opening, migrating and filling the database they are in.

Reading order: `database`, `alert_tables`, `schema`, `leases`, `bulk_insert`.
"""
