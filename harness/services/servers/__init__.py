"""The programs of the external services, as they run in child processes.

They import nothing of the other packages and name nothing here: a child must start fast, in an
emulated guest too, and importing any one of them imports this file.
"""
