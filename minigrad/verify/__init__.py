"""The judge: for our own kernels first, and for everybody else's.

    bounds       how far a correctly written kernel may be from the exact value: theorems
    cases        one table of cases for every primitive
    strategies   random convolutions and pools, for property tests (needs hypothesis)

Nothing here knows a network.
"""
