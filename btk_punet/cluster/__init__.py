"""Where the work of a run is done: in this process, on the cores of this machine, on a cluster.

`open_workers` opens workers, and their method ``run`` calls a function for many items, in any
order. It is the one place of the package that knows Dask.
"""
