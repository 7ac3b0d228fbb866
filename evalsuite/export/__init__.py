"""Runs in other tools' forms, so that their viewers read them. Reads run directories; asks no model."""

from evalsuite.export.run import Exported, load

__all__ = ["Exported", "load"]
