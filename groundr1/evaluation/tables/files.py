"""A table of texts as files: CSV for programs, LaTeX for papers."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from groundr1.storage import atomic_write

__all__ = ["CAPTION", "write_table"]

CAPTION = (
    "Ours, of {model}: per cent (MME: points) with the 95 % cluster-bootstrap interval in square brackets, and in round"
    " brackets the difference from the base. Columns headed paper (7B) are printed in Ground-R1 (arXiv 2505.20272), for"
    " Qwen2.5-VL-7B, and were not measured here: GRPO is the Ground-R1 of v2 (for high resolution v3's Ground-R1-GRPO),"
    " SRPO that of v3. They are another experiment; compare within ours and within the paper's, not across."
)
DASH = "—"  # what is not known
ESCAPES = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "[": "{[}"},
    **{DASH: "---", "–": "--", "−": "$-$", "…": r"\ldots{}"},
}


def write_table(table: pd.DataFrame, path: str | Path, *, caption: str) -> list[Path]:
    """Write a table of texts as <path>.csv and, for \\input into a paper, as <path>.tex.

    Args:
        table: what `comparison` returns; its index becomes the first columns.
        path: without suffix; folders are made.
        caption: of the LaTeX table, plain text. The packages booktabs and longtable are needed.

    Returns:
        The two paths.
    """
    plain = table.reset_index()
    texts = {
        ".csv": plain.to_csv(index=False, lineterminator="\n"),
        ".tex": _latex(plain, table.index.nlevels, caption),
    }
    paths = [Path(f"{path}{suffix}") for suffix in texts]
    for target, text in zip(paths, texts.values(), strict=True):
        with atomic_write(target) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return paths


def _escape(text: str) -> str:
    """Text for LaTeX; a square bracket in braces, because the first of a line would belong to the end of the last."""
    return str(text).translate(str.maketrans(ESCAPES))


def _latex(table: pd.DataFrame, num_labels: int, caption: str) -> str:
    """A longtable with booktabs rules: a repeated first label is left blank, a new one has space above it."""
    header = rf"\toprule {_line(table.columns)} \midrule"
    columns = "l" * num_labels + "r" * (table.shape[1] - num_labels)
    lines = [
        r"% needs \usepackage{booktabs, longtable}",
        r"\begingroup \scriptsize \setlength{\tabcolsep}{3pt}",
        rf"\begin{{longtable}}{{{columns}}}",
        rf"\caption{{{_escape(caption)}}} \\",
        *(header, r"\endfirsthead", header, r"\endhead", r"\bottomrule", r"\endfoot"),
    ]
    before = None
    for first, *rest in table.itertuples(index=False):
        if before not in (None, first):
            lines.append(r"\addlinespace")
        lines.append(_line(["" if first == before else first, *rest]))
        before = first
    return "\n".join([*lines, r"\end{longtable}", r"\endgroup", ""])


def _line(cells: Iterable[str]) -> str:
    return " & ".join(map(_escape, cells)) + r" \\"
