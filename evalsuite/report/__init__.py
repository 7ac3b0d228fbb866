"""One self-contained HTML page about one run or several. Reads run directories; asks no model and needs no network."""

from evalsuite.report.katex import inlined, installed
from evalsuite.report.page import build

__all__ = ["build", "inlined", "installed"]
