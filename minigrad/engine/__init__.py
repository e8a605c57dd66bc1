"""Plans: a network recorded once, simplified, and run with nothing of Python in between."""

from minigrad.engine.plan import Plan, compile, interpret
from minigrad.engine.trace import trace

__all__ = ["Plan", "compile", "interpret", "trace"]
