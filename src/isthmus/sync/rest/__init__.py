"""Connectors that are described instead of written: values say how a REST interface is read, written and mapped."""
