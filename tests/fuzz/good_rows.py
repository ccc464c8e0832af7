"""A good row of every form that is read, small: what hostile rows are bent from."""

from fuzz.pictures import SAMPLES

PICTURE = SAMPLES[3]
GOOD_ROWS = {
    "jsonl": {"image": "a.png", "question": "Which?\nA. red\nB. blue", "solution": "B", "kind": "choice", "boxes": [[1, 2, 30, 40]],
              "id": "x", "source": "s"},
    "viscot": {"image": "/home/x/cot_image_data/gqa/1.png", "width": 100, "height": 80, "bboxs": [[1, 2, 30, 40]], "dataset": "gqa",
               "split": "val", "problem": 'Which?"  \nA. red \nB. blue\n', "solution": "<answer>B</answer>", "problem_id": 7},
    "viscot-metadata": {"question": "Which?", "answer": "blue", "image": "1.png", "width": 100, "height": 80, "dataset": "gqa", "split": "train",
                        "bboxs": [[1, 2, 30, 40], [20, 5, 60, 70]], "full_answer": "It is blue.", "thought": "Look."},
    "viscot-conversations": {
        "image": ["cot/gqa/1.png", "cot/gqa/1.png###[1, 2, 30, 40]"], "dataset": "gqa", "question_id": 3,
        "conversations": [
            {"from": "human", "value": "<image>\nWhich? Please provide the bounding box coordinate of the region that can help you."},
            {"from": "gpt", "value": "[0.01, 0.1, 0.3, 0.5]"}, {"from": "human", "value": "<image>"}, {"from": "gpt", "value": "blue"},
        ]},
    "refcoco": {"image": "a.png", "width": 100, "height": 80, "bboxs": [[60.5, 20, 30, 40]], "dataset": "RefCOCO/testA", "problem": "",
                "solution": ["left guy", "guy in red"], "problem_id": 3},
    "deepeyes": {"data_source": "vstar", "prompt": [{"role": "user", "content": "<image>\nWhat?\nThink first, call **tool**"}],
                 "images": [{"bytes": PICTURE, "path": None}], "reward_model": {"ground_truth": "red", "style": "model"}},
}  # fmt: skip
FRAME = {"image": "a.png", "width": 100, "height": 80}
GOOD_ITEMS = {
    "viscot": [GOOD_ROWS["viscot"], GOOD_ROWS["viscot"] | {"dataset": "docvqa", "problem": "What?", "solution": "a word"}],
    "mme": [{"problem": "Is it? Please answer yes or no.", "solution": "No", "dataset": "existence", "Image": "a.png", "problem_id": 7},
            {"question_id": "a/1.png", "question": "Is it?", "answer": "Yes", "category": "count", "image": {"bytes": PICTURE}}],
    "mmvet": [{"Question_id": "v1_1", "problem": "What is x?", "solution": "-1<AND>-5<OR>five", "Category": "ocr,math", "image": "a.png"}],
    "seed": [{"Question_id": "1", "problem": "Which?\nA. red\nB. blue", "solution": "B", "Question_Type": "5", "image": "a.png"},
             {"question_id": 2, "question": "Which?", "choice_a": "red", "choice_b": "blue", "choice_c": "x", "choice_d": "y", "answer": "A",
              "question_type_id": 1, "data_type": "image", "data_id": "1"}],
    "mme_realworld_lite": [
        {"Question_id": "1", "problem": "Which?", "multi-choice options": ["(A) red", "(B) blue"], "solution": "B", "Task": "Perception",
         "Subtask": "OCR", "Category": "x/attribute/y", "image": "a.png"},
        {"index": "1", "question": "Which?", "A": "red", "B": "blue", "answer": "A", "category": "Reasoning/x", "l2-category": "y", "image": "aGk="}],
    "realworldqa": [{"problem": "How many?", "solution": "two", "image": "a.png"}, {"problem": "Which?\nA. red\nB. blue", "solution": "B"}],
    "pope": [{"Question_id": "1", "problem": "Is there a dog?", "solution": "yes", "Category": "random", "image": "a.png"},
             {"question_id": "1", "question": "Is there?", "answer": "no", "category": "adversarial,popular", "image_source": "COCO_1"}],
    "vstar": [{"text": "Which?\n(A) red\n(B) blue\nAnswer with the letter.", "label": "A", "category": "direct_attributes", "question_id": "1",
               "image": "a.png"}],
    "hrbench": [{"index": "1", "question": "Which?", "A": "red", "B": "blue", "C": "x", "D": "y", "answer": "A", "category": "single",
                 "cycle_category": "1", "image": "aGk="}],
    "refcoco": [GOOD_ROWS["refcoco"],
                {"answer": ["left guy"], "bbox": [1.0, 2.0, 30.0, 40.0], "question_id": "1", "dataset": "RefCOCO/val", "image": {"bytes": PICTURE}},
                {"index": "1", "question": "Where is <ref>left guy</ref>?", "answer": "[0.1, 0.2, 0.3, 0.4]", "split": "refcoco_val", **FRAME},
                {"img_path": "a.png", "sent_id": 1, "expression": "left guy", "bbox": [1, 2, 30, 40], "dataset": "RefCOCO/val", **FRAME}],
}  # fmt: skip
