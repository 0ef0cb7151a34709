"""The tables of docs/benchmarks.md are those of the measurements kept beside it.

Written anew by ``SHOAL_WRITE_TABLES=1 pytest tests/docs/test_benchmarks_page.py``.
"""

import os
import re
from pathlib import Path

from shoal.baselines.bench.report import markdown_table, read

TABLE = re.compile(r"(<!-- table of (\S+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def test_tables_are_generated(repository: Path) -> None:
    page = repository / "docs" / "benchmarks.md"
    text = page.read_text()
    assert len(TABLE.findall(text)) >= 2

    def table(found: re.Match[str]) -> str:
        report = read(page.parent / found[2])
        return f"{found[1]}\n{markdown_table(report)}\n\n{found[3]}"

    generated = TABLE.sub(table, text)
    if os.environ.get("SHOAL_WRITE_TABLES"):
        page.write_text(generated)
    assert generated == page.read_text()
