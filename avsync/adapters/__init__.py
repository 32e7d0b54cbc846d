"""Adapters: the only places that read a real clock for the core.

``asyncio_driver`` runs one engine on an event loop, for sinks that push and sinks that pull.
"""
