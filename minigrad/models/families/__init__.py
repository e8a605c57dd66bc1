"""One table and one builder for each family of networks, and what other libraries call its layers.

=================  ==============================================================
squeezenext        the SqueezeNeXt block in four stages
mobilenet_v2       inverted residuals with linear bottlenecks
mobilenet_v3       searched inverted residuals with squeeze and excitation
mnasnet            chosen by a search that measured latency
efficientnet       one network scaled in width, depth and size; also Lite
efficientnet_v2    fused blocks where the maps are large
small              networks of ours for pictures of 28 to 64 pixels a side
=================  ==============================================================

Each file has the paper's table, ``PRESETS`` (how the authors and each library pad, normalise
and initialise), ``photographs`` (how each prepared its photographs), the libraries' names of
layers and of networks, and ``NETWORKS``.  Adding a network is adding a row there.

What may be changed: a table only where its source says otherwise; a preset, once it is
named, keeps what it computes (tests/models).
"""
