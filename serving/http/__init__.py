"""The HTTP endpoint: app, authentication, request bodies, metrics, server processes, client.

Reading order: `app`, `auth_middleware`, `request_bodies`, `server_process`, `process_tuning`, `client`.
"""
