"""Engines of others, judged: ``python -m benchmarks.judged`` prints the table of docs/judge.md.

Each file holds one engine as functions in the words of ``minigrad.verify.examine``.  What an
engine does not have is ``Refused``, and the report counts it so.
"""
