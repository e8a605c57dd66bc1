"""The judge: for our own kernels first, and for everybody else's.

    bounds       how far a correctly written kernel may be from the exact value: theorems
    verdict      ``judge``: yes or no to an array that anybody computed
    cases        one table of cases for every primitive
    strategies   random convolutions and pools, for property tests (needs hypothesis)

Nothing here knows a network.
"""

from minigrad.verify.verdict import Verdict, judge

__all__ = ["Verdict", "judge"]
