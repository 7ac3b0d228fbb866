"""Tasks: named, generated, or read from files. `load` finds one; nothing here knows models or prompts."""

from evalsuite.tasks.catalog import listings, load
from evalsuite.tasks.files import BadRow, Fields
from evalsuite.tasks.types import Problem, Shot, Task

__all__ = ["BadRow", "Fields", "Problem", "Shot", "Task", "listings", "load"]
