"""Adapters between aajax environments and those of other libraries.

`jaxmarl` and `gymnax` convert in both directions, `pettingzoo` from ours to theirs.
Each module needs the library that it is named after: `pip install 'aajax[adapters]'`.
"""
