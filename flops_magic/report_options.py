"""The options of a report, the same at every door."""

from __future__ import annotations

from typing import Any

# what argparse's and IPython's add_argument take
REPORT_OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--format",
        {
            "choices": ("html", "md", "docx", "json", "model-card"),
            "help": "by default what --output ends in, or md",
        },
    ),
    (
        "--audience",
        {
            "choices": ("ai-office", "national-authority", "downstream", "all"),
            "default": "all",
            "help": "one form alone; by default an internal report with all of them",
        },
    ),
    (
        "--output",
        {
            "metavar": "FILE",
            "help": "ends in .html, .md, .docx or .json",
        },
    ),
)
