"""The commands that ask what the page Ask asks: points, segments, words and classes of images."""

from __future__ import annotations

import typer

from .classify_command import classify
from .point_commands import add_to as add_points
from .segment_command import segment
from .word_commands import words


def add_to(app: typer.Typer) -> None:
    """Put them beside the others."""
    add_points(app)
    for command in (segment, words, classify):
        app.command()(command)
