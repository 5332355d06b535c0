"""Environments of other libraries as ours, and ours as theirs.

`jaxmarl` and `gymnax` go both ways, `pettingzoo` goes out. Each module needs the
library that it is named after: `pip install 'aajax[adapters]'`.
"""
