"""The version, and the number of the protocol that clients, planes and runners speak."""

__version__ = "0.1.0"

PROTOCOL = 1
