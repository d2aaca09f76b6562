"""Self-contained HTML pages, shared by all reports."""

import html
from collections.abc import Iterable, Mapping, Sequence

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 84rem; padding: 0 1rem; color: #222; }}
h1 {{ margin-bottom: 0; }}
.summary {{ color: #555; margin-top: .2rem; }}
svg {{ max-width: 100%; height: auto; }}
.figures {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); gap: 1rem; }}
.figures svg {{ width: 100%; }}
.grids {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(18rem, 100%), 1fr)); gap: 1.5rem; }}
.grids img {{ width: 100%; }}
figure {{ margin: 0; }}
figcaption {{ color: #555; font-size: .9rem; }}
table {{ border-collapse: collapse; display: block; margin: .8rem 0; overflow-x: auto; }}
th, td {{ padding: .2rem .9rem; text-align: right; border-bottom: 1px solid #ddd; }}
pre {{ background: #f6f6f6; padding: 1rem; overflow-x: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p class="summary">{summary}</p>
{sections}
</body>
</html>
"""


def html_page(title: str, summary: str, sections: Mapping[str, str]) -> str:
    """Returns an HTML page.

    Args:
        title: title, plain text.
        summary: line below the title, plain text.
        sections: HTML by heading; empty sections are left out.
    """
    content = "\n".join(f"<h2>{html.escape(heading)}</h2>\n{text}" for heading, text in sections.items() if text)
    return _PAGE.format(title=html.escape(title), summary=html.escape(summary), sections=content)


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns an HTML table with plain-text cells."""

    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{row(header, 'th')}{''.join(row(cells, 'td') for cells in rows)}</table>"
