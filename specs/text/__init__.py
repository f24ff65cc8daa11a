"""The text form of properties: reading, writing, and the errors of both with their places."""

from .files import parse_spec, parse_value, read_spec, write_spec
from .spec_file import Prop, SpecFile

__all__ = ["Prop", "SpecFile", "parse_spec", "parse_value", "read_spec", "write_spec"]
