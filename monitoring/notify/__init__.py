"""Notifications: the outbox, channels and delivery.

Reading order: `outbox_writer`, `message`, `channels`, `outbox`, `delivery`, `sender`.
"""
