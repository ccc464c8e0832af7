"""The benchmarks of the paper: what they are called by whom, where they are, and how large their pictures are shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["BENCHMARKS", "MARKERS", "Benchmark", "HubId", "plain_name"]

# The paper's v2 code gives every picture at most 401408 pixels (512 merged tokens). A picture of 4K shrinks to about
# 630 pixels a side, and what V*, HR-Bench and MME-RealWorld ask after is gone. Those get Qwen2.5-VL's own default of
# 16384 merged tokens: not in the paper, our choice.
PAPER_MAX_PIXELS = 401408
HIGH_RESOLUTION_MAX_PIXELS = 16384 * 28 * 28


@dataclass(frozen=True)
class HubId:
    """A data set of the Hub: repository, config, and the splits that belong to the benchmark.

    `lmms-lab-encoder` is where lmms-eval's data sets are since July 2026; `lmms-lab` had them before.
    """

    repository: str
    splits: tuple[str, ...]
    config: str | None = None

    @property
    def name(self) -> str:
        """Repository without its owner."""
        return self.repository.rpartition("/")[2]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of the paper.

    Attributes:
        name: as `groundr1.data.items` and the scorers call it.
        title: as papers write it.
        group: the sub-score that becomes `Example.source`.
        hubs: data sets of the Hub, the preferred one first.
        jsonl: names of its Ground-R1 files without suffix, upper and lower case alike, other files' ends included:
            "refcoco" is also "RefCOCO_eval_subset_1000".
        tsv: names of its VLMEvalKit files, likewise.
        paper: the whole ("") or a group or label of it -> its name in `paper_results`.
        max_pixels: of a picture as the model sees it.
    """

    name: str
    title: str
    group: str
    hubs: tuple[HubId, ...] = ()
    jsonl: tuple[str, ...] = ()
    tsv: tuple[str, ...] = ()
    paper: Mapping[str, str] = field(default_factory=dict)
    max_pixels: int = PAPER_MAX_PIXELS


_ALL = (
    Benchmark(
        "viscot", "Visual-CoT", "set",
        jsonl=("visualcot_eval", "viscot"),
        paper={
            "": "AVG", "docvqa": "DocVQA", "textcap": "TextCaps", "textvqa": "TextVQA", "dude": "DUDE",
            "sroie": "SROIE", "infographicsvqa": "InfoVQA", "flickr30k": "Flickr30k", "v7w": "Visual7W", "gqa": "GQA",
            "openimages": "Open images", "vsr": "VSR", "cub": "CUB",
        },
    ),
    Benchmark(
        "mme", "MME", "subtask",
        hubs=(HubId("lmms-lab-encoder/MME", ("test",)),),
        jsonl=("mme",), tsv=("mme",), paper={"": "MME"},
    ),
    Benchmark(
        "mmvet", "MM-Vet", "combination",
        hubs=(HubId("lmms-lab-encoder/MMVet", ("test",)),),
        jsonl=("mmvet", "mm_vet"), tsv=("mmvet",), paper={"": "MM-Vet"},
    ),
    Benchmark(
        "seed", "SEED-Bench (image)", "question_type",
        hubs=(HubId("lmms-lab-encoder/SEED-Bench", ("test",)),),
        jsonl=("seed_bench",), tsv=("seedbench_img",), paper={"": "SEED"},
    ),
    Benchmark(
        "mme_realworld_lite", "MME-RealWorld-Lite", "subtask",
        hubs=(HubId("yifanzhang114/MME-RealWorld-lite-lmms-eval", ("train",)),),
        jsonl=("mme_realworld_lite",), tsv=("mme_realworld_lite",), paper={"": "MME-RealWorld-Lite"},
        max_pixels=HIGH_RESOLUTION_MAX_PIXELS,
    ),
    Benchmark(
        "realworldqa", "RealWorldQA", "answer",
        hubs=(HubId("lmms-lab-encoder/RealWorldQA", ("test",)),),
        jsonl=("realworldqa",), tsv=("realworldqa",), paper={"": "RealWorldQA"},
    ),
    Benchmark(
        "pope", "POPE", "category",
        hubs=(
            HubId("lmms-lab-encoder/POPE", ("test",)),
            HubId("lmms-lab-encoder/POPE", ("adversarial", "popular", "random"), "Full"),
        ),
        jsonl=("pope",), tsv=("pope",), paper={"": "POPE"},
    ),
    Benchmark(
        "vstar", "V* Bench", "category",
        hubs=(HubId("lmms-lab-encoder/vstar-bench", ("test",)), HubId("craigwu/vstar_bench", ("test",))),
        jsonl=("vstar", "test_questions"), tsv=("vstar",), paper={"": "V*"},
        max_pixels=HIGH_RESOLUTION_MAX_PIXELS,
    ),
    Benchmark(
        "hrbench", "HR-Bench", "category",
        hubs=(
            HubId("DreamMr/HR-Bench", ("hrbench_4k",), "hrbench_version_split"),
            HubId("DreamMr/HR-Bench", ("hrbench_8k",), "hrbench_version_split"),
        ),
        tsv=("hr_bench", "hrbench"), paper={"hrbench_4k": "HR-Bench-4K", "hrbench_8k": "HR-Bench-8K"},
        max_pixels=HIGH_RESOLUTION_MAX_PIXELS,
    ),
    Benchmark(
        "refcoco", "RefCOCO/+/g", "split",
        hubs=(
            HubId("lmms-lab-encoder/RefCOCO", ("val", "testA", "testB")),
            HubId("lmms-lab-encoder/RefCOCOplus", ("val", "testA", "testB")),
            HubId("lmms-lab-encoder/RefCOCOg", ("val", "test")),
        ),
        jsonl=("refcoco", "rec_refcoco"), tsv=("refcoco",),
        paper={"RefCOCO": "RefCOCO", "RefCOCOplus": "RefCOCO+", "RefCOCOg": "RefCOCOg"},
    ),
)  # fmt: skip

# Folder name in the image paths of the authors' machine behind which paths are the same everywhere.
MARKERS: Mapping[str, str] = {"viscot": "cot_image_data"}

BENCHMARKS: Mapping[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}


def plain_name(name: str) -> str:
    """A name without case and signs, by which files and folders are compared; a plus sign is the word.

    >>> plain_name("HR_Bench-4K"), plain_name("RefCOCO+")
    ('hrbench4k', 'refcocoplus')
    """
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("+", "plus"))
