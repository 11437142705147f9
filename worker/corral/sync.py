"""Corral without an event loop: `from corral.sync import Queue, FlowProducer`, for Django, Flask and scripts."""

from corral.sync_flow import FlowProducer
from corral.sync_queue import Queue

__all__ = ["FlowProducer", "Queue"]
