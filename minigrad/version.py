"""What this is called, and which version it is."""

__all__ = ["DISTRIBUTION", "__version__"]

DISTRIBUTION = "minigrad-cpu"  # what pip calls it; minigrad is somebody else's package there
__version__ = "0.1.0"
