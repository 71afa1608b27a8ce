"""The ssh lab: each node on a machine of its own, reached by OpenSSH; the fabric spans them all."""
