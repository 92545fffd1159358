"""Which version serves each sensor: alias polling, acceptance checks, and the state that survives a restart.

Reading order: `champions`, `acceptance`, `alias_poller`, `poller`, `serving_state`.
"""
