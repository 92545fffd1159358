"""Scheduled jobs: when each is due, its process, its history, its health.

Reading order: `scheduler`, `jobs`, `job_process`, `job_runs`, `scheduler_health`.
"""
