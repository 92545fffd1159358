"""Commands beside training: overview, promotion and rollback, backup and restore, and their output.

Reading order: `overview`, `promotion`, `backup`, `console`.
"""
