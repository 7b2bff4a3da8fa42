"""Engines: what runs tasks over shards. The local one is imported here; the others when they are asked for."""

from predictd.engine.base import Communicator, Engine
from predictd.engine.local import LocalEngine

__all__ = ["Communicator", "Engine", "LocalEngine"]
