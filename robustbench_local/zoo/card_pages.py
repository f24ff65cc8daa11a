"""Cards written out: Markdown, and pages of HTML that load nothing."""

from __future__ import annotations

from html import escape
from importlib.resources import files

from .cards import Block, Card, Grid, Points

__all__ = ["card_html", "card_markdown"]


def card_markdown(card: Card, *, level: int = 1) -> str:
    """The card as GitHub-flavoured Markdown, its first heading of that level; it ends with a line break."""
    mark = "#" * level
    parts = [f"{mark} {card.title}", *map(_markdown, card.blocks)]
    for section in card.sections:
        parts += [f"{mark}# {section.title}", *map(_markdown, section.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Points):
        return "\n".join(f"- **{name}**: {text}" for name, text in block.lines)
    if isinstance(block, Grid):
        lines = [block.heads, ("---",) * len(block.heads), *block.lines]
        return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
    return block


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def card_html(card: Card) -> str:
    """The card as a page of HTML in the style of the reports, complete in itself."""
    style = files("robustbench_local.report").joinpath("templates/report.css").read_text(encoding="utf-8")
    parts = [f"<h1>{escape(card.title)}</h1>", *map(_html, card.blocks)]
    for section in card.sections:
        inner = "\n".join(map(_html, section.blocks))
        parts.append(f"<section>\n<h2>{escape(section.title)}</h2>\n{inner}\n</section>")
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(card.title)}</title>\n<style>\n{style}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block) -> str:
    if isinstance(block, Points):
        lines = (f"<li><b>{escape(name)}</b>: {escape(text)}</li>" for name, text in block.lines)
        return "<ul>\n" + "\n".join(lines) + "\n</ul>"
    if isinstance(block, Grid):
        heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in block.heads)
        rows = ("".join(f"<td>{escape(cell)}</td>" for cell in line) for line in block.lines)
        inner = "\n".join(f"<tr>{row}</tr>" for row in rows)
        table = f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{inner}\n</tbody>\n</table>"
        return f'<div class="scroll">{table}</div>'
    return f"<p>{escape(block)}</p>"
