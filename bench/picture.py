"""A bar chart as SVG, without a plotting library."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

_WIDTH, _BAR, _GAP, _LEFT, _TITLE = 760, 20, 8, 270, 34


@dataclass(frozen=True)
class Chart:
    """Bars of one unit, the longest as wide as there is room."""

    title: str
    unit: str
    bars: Sequence[tuple[str, float]]


def draw(charts: Sequence[Chart], file: Path) -> None:
    """Write charts below one another."""
    parts: list[str] = []
    top = 10
    for chart in charts:
        parts.append(_text(10, top + 18, chart.title, "bold 14px"))
        top += _TITLE
        most = max((value for _, value in chart.bars), default=1) or 1
        for label, value in chart.bars:
            length = (_WIDTH - _LEFT - 130) * value / most
            parts.append(_text(10, top + 15, label, "13px"))
            parts.append(
                f'<rect x="{_LEFT}" y="{top}" width="{length:.1f}" height="{_BAR}" '
                'fill="#3b7dd8"/>'
            )
            parts.append(_text(_LEFT + length + 6, top + 15, f"{value:,.4g} {chart.unit}", "13px"))
            top += _BAR + _GAP
        top += 14
    body = "\n".join(parts)
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" '
        f'font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n'
        "</svg>\n", encoding="utf-8",
    )


def _text(x: float, y: float, text: str, font: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" style="font: {font} sans-serif">{escape(text)}</text>'
