"""What the command line does beside training: overview, promotion and rollback, backup and restore.

Reading order: `overview`, `promotion`, `backup`, `console`.
"""
