"""The part of a monitor that says what a ranking is: its queries, and what a label is worth."""

from typing import Literal

from pydantic import Field

from driftline.monitor_parts import Part


class RankingSpec(Part):
    """Task `ranking`: a request is a query, its rows are candidates, the prediction is each candidate's score, and a
    label says how relevant a candidate was.
    """

    cutoff: int = Field(10, ge=1, le=1000, description="Places that people look at, such as the 10 of `ndcg@10`.")
    relevant_from: float = Field(1.0, gt=0, description="Labels from here on are relevant.")
    gain: Literal["exponential", "linear"] = Field(
        "exponential", description="What a label is worth: `exponential`, 2^label - 1, or `linear`, the label itself."
    )
    unlabelled: Literal["wait", "irrelevant"] = Field(
        "wait",
        description="Candidates without a label: `wait`, a query counts once all of its candidates have one; "
        "`irrelevant`, they count as 0 from the query's first label on (clicks, where only what is clicked is sent).",
    )
    query: str = Field(
        "query",
        min_length=1,
        description="Column of files that tells queries apart, whose rows stand together. In traffic a request is one.",
    )
