"""Machinery of a controller; knows no kind of object."""
