"""The version of this program, for the wheel and for what it writes."""

__version__ = "0.1.0"
