"""The Python side of the compiled core: arrays checked, laid out, and handed to a kernel."""
