"""A voting application of five services that speak HTTP to each other."""
