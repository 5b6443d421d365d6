"""A step of many small operations, traced once and repeated without autograd."""
