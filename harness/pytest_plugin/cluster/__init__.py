"""Trials on several machines: a run's trials as tasks of a Dask cluster, gathered into one run.

Dask's scheduler and workers are the user's own (``dask scheduler``, ``dask worker``); the extra
``swarm-chaos[dask]`` brings them. A trial is a function of its inputs, so it does not matter where
it runs, nor that it runs again when a worker is lost.
"""
