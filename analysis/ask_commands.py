"""The commands that ask what the pages Ask and Why ask: points, segments, words and classes of images; theory."""

from __future__ import annotations

import typer

from .classify_command import classify
from .point_commands import add_to as add_points
from .segment_command import segment
from .theory_command import theory
from .word_commands import words


def add_to(app: typer.Typer) -> None:
    """Put them beside the others."""
    add_points(app)
    for command in (segment, words, classify, theory):
        app.command()(command)
